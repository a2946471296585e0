"""Mosaic of the maps of several scenes, with tables of areas by class and by zone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dnas_mmseg.errors import UserError
from dnas_mmseg.files import write_csv
from dnas_mmseg.raster import (
    MOSAIC_OVERLAPS,
    RESAMPLINGS,
    ClassAreas,
    Raster,
    check_mosaic_path,
    class_areas,
    parse_crs,
    read_zones,
    write_mosaic,
    write_zones,
    zone_areas,
)

from .products import Confidence


@dataclass(frozen=True)
class Mosaic:
    """Describe a mosaic and the tables to write with it.

    Attributes:
        path: Path of the mosaic, ending in ``.tif``.
        crs, resolution, overlap, resampling: Arguments of
            :func:`dnas_mmseg.raster.write_mosaic`.
        zones: Vector file of zones in which the areas of the classes are computed; empty for none.
        zone_field, zone_layer: Arguments of :func:`dnas_mmseg.raster.read_zones`.

    Raises:
        UserError: A value is unknown or out of range.

    Example:
        >>> Mosaic('country.tif', crs='EPSG:3035', zones='districts.gpkg').table('zones').name
        'country_zones.csv'
    """

    path: str | os.PathLike
    crs: str = ''
    resolution: float | None = None
    overlap: str = 'first'
    resampling: str = 'nearest'
    zones: str = ''
    zone_field: str = ''
    zone_layer: str = ''

    def __post_init__(self) -> None:
        for name, value, known in (
            ('overlap', self.overlap, MOSAIC_OVERLAPS),
            ('resampling', self.resampling, RESAMPLINGS),
        ):
            if value not in known:
                raise UserError(f"{name} '{value}' is unknown: choose {', '.join(known)}")
        if self.resolution is not None and not self.resolution > 0:
            raise UserError(f'resolution {self.resolution:g}: a positive number expected')

    def table(self, kind: str, suffix: str = '.csv') -> Path:
        """Return the path of a table, ``<stem of the mosaic>_<kind><suffix>``."""
        path = Path(self.path)
        return path.with_name(f'{path.stem}_{kind}{suffix}')

    def check_maps(self, maps: Iterable[Path]) -> None:
        """Raise an error if the mosaic would overwrite a map, which may not exist yet."""
        if Path(self.path).resolve() in {path.resolve() for path in maps}:
            raise UserError(f'{self.path}: the mosaic would overwrite a map; choose another path')

    def check(self) -> None:
        """Check everything that does not require the maps, so that nothing is mapped in vain.

        Raises:
            UserError: CRS or zones are invalid, or a file would be overwritten that is not a
                mosaic.
        """
        check_mosaic_path(self.path)
        if self.crs:
            parse_crs(self.crs)
        if self.zones:
            outputs = (self.table('zones', '.gpkg'), self.table('zones'), self.table('areas'))
            if Path(self.zones).resolve() in {path.resolve() for path in outputs}:
                raise UserError(
                    f'{self.zones}: the areas of the zones would overwrite it; choose another '
                    '--mosaic'
                )
            read_zones(self.zones, self.zone_field, self.zone_layer)
        tables = [self.table('areas')]
        if self.zones:
            tables += [self.table('zones'), self.table('zones', '.gpkg')]
        if not Path(self.path).exists():  # else they belong to this mosaic
            for table in filter(Path.exists, tables):
                raise UserError(
                    f'{table} exists and does not belong to a mosaic {self.path}: choose another '
                    '--mosaic, or move the file'
                )


def write_mosaic_products(
    mosaic: Mosaic,
    maps: Sequence[Path],
    track: Callable[[str], Callable[[int, int], None]] = lambda name: lambda done, total: None,
) -> list[str]:
    """Write a mosaic of maps, its VRT, and the areas of its classes.

    Written next to the mosaic are ``<stem>.vrt``; ``<stem>_areas.csv`` with pixels, area in square
    metres on the ground and share of each class; and with zones ``<stem>_zones.csv``, the same by
    zone, and ``<stem>_zones.gpkg`` (:func:`dnas_mmseg.raster.write_zones`).

    Args:
        mosaic: Description of the mosaic.
        maps: Class maps of :func:`dnas_mmseg.mapping.scenes.predict_scenes`, in the order of the
            rule ``'first'``.
        track: Function from the name of a step to a progress callback.

    Returns:
        Notes, one line each.

    Raises:
        RasterError: A map or the zones are invalid, or a file cannot be written.
    """
    zones = read_zones(mosaic.zones, mosaic.zone_field, mosaic.zone_layer) if mosaic.zones else None
    confidences = [Confidence().path(path) for path in maps if mosaic.overlap == 'confidence']
    notes = write_mosaic(
        maps,
        mosaic.path,
        crs=mosaic.crs,
        resolution=mosaic.resolution,
        overlap=mosaic.overlap,
        resampling=mosaic.resampling,
        confidences=confidences,
        advance=track('mosaic'),
    )
    with Raster(mosaic.path) as raster:
        info = raster.info
    if zones is None and info.georeference.ground_sample_distance(*info.shape) is None:
        return [*notes, f'{mosaic.path}: no table of areas, since its CRS is not on the Earth']
    areas = class_areas(mosaic.path, advance=track('areas'))
    write_csv(
        mosaic.table('areas'),
        [('class', 'pixels', 'area_m2', 'share'), *_rows(info.class_names, areas)],
    )
    if zones is not None:
        by_zone = zone_areas(zones, mosaic.path, advance=track('zones'))
        rows = [
            (zone.fid, zone.name, *row)
            for zone, found in zip(zones.zones, by_zone, strict=True)
            for row in _rows(info.class_names, found)
        ]
        header = ('fid', 'zone', 'class', 'pixels', 'area_m2', 'share')
        write_csv(mosaic.table('zones'), [header, *rows])
        write_zones(mosaic.table('zones', '.gpkg'), zones, by_zone, info.class_names)
        notes += zones.notes
        unmapped = [
            z.name for z, found in zip(zones.zones, by_zone, strict=True) if not any(found.pixels)
        ]
        if unmapped:
            notes.append(
                f'{mosaic.zones}: {len(unmapped)} of {len(zones.zones)} zones have no mapped '
                f'pixel, such as {unmapped[0]}'
            )
    return notes


def _rows(names: Sequence[str], areas: ClassAreas) -> Iterator[tuple[object, ...]]:
    """Yield name, pixels, area and share of each class; no share if nothing is mapped."""
    mapped = areas.pixels.any()
    for name, pixels, metres, share in zip(
        names, areas.pixels, areas.square_metres, areas.shares, strict=True
    ):
        yield name, int(pixels), round(float(metres), 2), round(float(share), 6) if mapped else ''
