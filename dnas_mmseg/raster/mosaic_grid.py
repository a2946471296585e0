"""Grid of a mosaic: class maps, their CRS and resolution, and their places in a common grid."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from osgeo import osr

from dnas_mmseg.classes import ClassScheme

from ._gdal import RasterError, gdal, gdal_exceptions
from .areas import ground_areas
from .georeference import OUTLINE, GeoReference, crs_name, transform_points
from .reading import Raster
from .windows import Window

_TOLERANCE = 0.01
"""Distance in pixels up to which a map counts as aligned with a grid."""

_FINEST = 1 / 16
"""Smallest resolution of a mosaic relative to that of the maps."""

_MAX_SIDE = 2**31 - 1
"""Largest width and height of a GDAL raster, in pixels."""


@dataclass(frozen=True)
class ClassMapFile:
    """Class map of a scene, georeferenced by a geotransform.

    Attributes:
        path: Path of the map.
        height, width: Size in pixels.
        crs: CRS as WKT; equal for all maps in the same CRS.
        transform: GDAL's affine geotransform.
    """

    path: str
    height: int
    width: int
    crs: str
    transform: tuple[float, ...]

    @property
    def georeference(self) -> GeoReference:
        """Georeference of the map."""
        return GeoReference(crs=self.crs, transform=self.transform)

    @property
    def resolution(self) -> float:
        """Side of a square of the area of a pixel, in units of the CRS."""
        _, dx, skew_x, _, skew_y, dy = self.transform
        return float(f'{math.sqrt(abs(dx * dy - skew_x * skew_y)):.9g}')


def read_class_maps(
    paths: Sequence[str | os.PathLike],
) -> tuple[tuple[ClassMapFile, ...], ClassScheme]:
    """Read the metadata of class maps with the same classes.

    Args:
        paths: Paths of maps written by ``dnas predict``.

    Returns:
        Maps, and the names and colours of their classes.

    Raises:
        RasterError: There is no map; or one is unreadable, truncated, without geotransform or CRS,
            not a class map, or has other classes than the first one.
    """
    if not paths:
        raise RasterError('a mosaic requires at least one map')
    maps: list[ClassMapFile] = []
    systems: dict[str, str] = {}  # WKT of each CRS by its texts
    without: list[str] = []
    classes: ClassScheme | None = None
    for path in (os.fspath(p) for p in paths):
        with Raster(path) as raster:
            info, found = raster.info, _read_classes(raster)
            raster.read(Window(info.width - 1, info.height - 1, 1, 1))  # fails if truncated
        classes = classes or found
        _check_classes(found, classes, path, os.fspath(paths[0]))
        place = info.georeference
        if place.transform is None or not place.crs:
            without.append(path)
            continue
        if gdal.InvGeoTransform(list(place.transform)) is None:
            raise RasterError(f'{path}: its geotransform {place.transform} has no inverse')
        if place.crs not in systems:
            same = (
                s for s in systems.values() if not place.describe_crs_difference(GeoReference(s))
            )
            systems[place.crs] = next(same, place.crs)
        crs = systems[place.crs]
        maps.append(ClassMapFile(path, info.height, info.width, crs, place.transform))
    if without:
        raise RasterError(
            f'{len(without)} of {len(paths)} maps have no geotransform or CRS, so they have no '
            f'place in a mosaic: {_shorten(without)}. Georeference their scenes (gdal_translate '
            '-a_srs -a_ullr, or gdalwarp), and map them again'
        )
    assert classes is not None
    return tuple(maps), classes


def _read_classes(raster: Raster) -> ClassScheme:
    info, names = raster.info, raster.info.class_names
    if info.dtypes != ('uint8',) or not names or len(info.colour_table) < len(names):
        raise RasterError(
            f'{raster.path}: not a class map: one band of uint8 with class names and colours '
            'expected, as written by dnas predict'
        )
    return ClassScheme(names, info.colour_table[: len(names)])


def _check_classes(found: ClassScheme, expected: ClassScheme, path: str, first: str) -> None:
    if found == expected:
        return
    what = 'colours' if found.names == expected.names else 'classes'
    lists = [
        ', '.join(map(str, c.palette if what == 'colours' else c.names)) for c in (found, expected)
    ]
    raise RasterError(
        f'{path}: its {what} ({lists[0]}) differ from those of {first} ({lists[1]}): the maps of a '
        'mosaic must be of one model'
    )


def _shorten(paths: Sequence[str]) -> str:
    more = f' and {len(paths) - 5} more' if len(paths) > 5 else ''
    return ', '.join(paths[:5]) + more


def parse_crs(text: str) -> str:
    """Return a CRS as WKT.

    Args:
        text: Any text that GDAL understands, such as ``EPSG:25832``, WKT or a PROJ string.

    Raises:
        RasterError: The text is not a projected or geographic CRS.
    """
    crs = osr.SpatialReference()
    try:
        with gdal_exceptions():
            crs.SetFromUserInput(text)
    except RuntimeError as error:
        raise RasterError(
            f"CRS '{text}' is unknown ({error}): expected e.g. EPSG:25832, WKT or a PROJ string"
        ) from None
    if not crs.IsProjected() and not crs.IsGeographic():
        raise RasterError(
            f"CRS '{text}' is neither projected nor geographic: expected e.g. EPSG:25832"
        )
    return crs.ExportToWkt()


@dataclass(frozen=True)
class MosaicGrid:
    """Grid of a mosaic, and the places of the maps in it.

    Attributes:
        georeference: Georeference of the mosaic.
        height, width: Size in pixels.
        boxes: First column, first row, end column and end row of each map, int64 (maps, 4).
        aligned: Whether the pixels of each map are pixels of the mosaic, boolean (maps,).
    """

    georeference: GeoReference
    height: int
    width: int
    boxes: np.ndarray
    aligned: np.ndarray

    @classmethod
    def plan(
        cls, maps: Sequence[ClassMapFile], crs: str = '', resolution: float | None = None
    ) -> MosaicGrid:
        """Plan the grid that covers all maps.

        If the maps are in one CRS and share one grid, the mosaic has this grid. Otherwise its
        pixels are squares, and their edges are at multiples of the resolution.

        Args:
            maps: Maps of :func:`read_class_maps`.
            crs: CRS of the mosaic, see :func:`parse_crs`; defaults to that of most maps by ground
                area.
            resolution: Side of a pixel in units of the CRS; defaults to the most common one of the
                maps in this CRS, else to the median of the maps.

        Raises:
            RasterError: The CRS is unknown, the resolution is out of range, or a map cannot be
                located in the CRS.
        """
        target = _match_crs(parse_crs(crs), maps) if crs else _main_crs(maps)
        native = _native_resolution(maps, target)
        _check_resolution(resolution, native, maps, target)
        transform = maps[0].transform
        square = resolution or native
        own = resolution is None or math.isclose(resolution, maps[0].resolution, rel_tol=1e-6)
        if not own or not all(m.crs == target and _offset(m, transform) for m in maps):
            transform = (0.0, square, 0.0, 0.0, 0.0, -square)
        boxes, aligned = _place(maps, target, transform)
        left, top = boxes[:, :2].min(0)
        width, height = (int(v) for v in boxes[:, 2:].max(0) - (left, top))
        if max(height, width) > _MAX_SIDE:
            raise RasterError(
                f'the mosaic would have {height} rows x {width} columns, more than GDAL supports: '
                'increase the resolution, or choose another CRS'
            )
        place = GeoReference(crs=target, transform=transform).moved(int(top), int(left))
        return cls(place, height, width, boxes - [left, top, left, top], aligned)

    @property
    def unit(self) -> str:
        """Units of the CRS, in plural."""
        return _unit(self.georeference.crs)

    def find_maps(self, window: Window) -> list[int]:
        """Return the indices of the maps whose boxes intersect a window, in order."""
        left, top, width, height = window
        near = (self.boxes[:, 0] < left + width) & (self.boxes[:, 2] > left)
        near &= (self.boxes[:, 1] < top + height) & (self.boxes[:, 3] > top)
        return [int(i) for i in np.flatnonzero(near)]

    def box(self, index: int) -> Window:
        """Return the box of a map as a window of the mosaic."""
        left, top, right, bottom = (int(v) for v in self.boxes[index])
        return Window(left, top, right - left, bottom - top)


def _match_crs(crs: str, maps: Iterable[ClassMapFile]) -> str:
    """Return the WKT of the maps in the same CRS, or the CRS itself."""
    place = GeoReference(crs)
    found = (
        c for c in {m.crs: None for m in maps} if not place.describe_crs_difference(GeoReference(c))
    )
    return next(found, crs)


def _main_crs(maps: Sequence[ClassMapFile]) -> str:
    """Return the CRS with the largest ground area of maps; the first one of equal ones."""
    systems = list({m.crs: None for m in maps})
    if len(systems) == 1:
        return systems[0]
    areas = dict.fromkeys(systems, 0.0)
    for each in maps:
        middle = Window(each.width // 2, each.height // 2, 1, 1)
        pixel = float(ground_areas(each.georeference, middle, each.path)[0, 0])
        areas[each.crs] += pixel * each.height * each.width
    return max(systems, key=lambda crs: areas[crs])


def _native_resolution(maps: Sequence[ClassMapFile], crs: str) -> float:
    """Return the most common resolution of the maps in a CRS, else the median of all in it."""
    own = Counter(m.resolution for m in maps if m.crs == crs)
    if own:
        return min(own, key=lambda value: (-own[value], value))
    sides = []
    for each in maps:
        column, row = each.width / 2, each.height / 2
        pixel = [(column, row), (column + 1, row), (column, row + 1)]
        points = _transform(each, pixel, crs)
        (x, y), (x1, y1), (x2, y2) = points
        sides.append(math.sqrt(abs((x1 - x) * (y2 - y) - (x2 - x) * (y1 - y))))
    return float(f'{np.median(sides):.3g}')


def _transform(
    each: ClassMapFile, pixels: Iterable[tuple[float, float]], crs: str
) -> list[tuple[float, float]]:
    """Return positions of a map, in pixels, in a CRS."""
    to_ground = list(each.transform)
    points = [gdal.ApplyGeoTransform(to_ground, *pixel) for pixel in pixels]
    found = points if each.crs == crs else transform_points(each.crs, crs, points)
    if found is None:
        raise RasterError(
            f'{each.path}: it cannot be located in {crs_name(crs)}: choose another CRS'
        )
    return found


def _check_resolution(
    resolution: float | None, native: float, maps: Sequence[ClassMapFile], crs: str
) -> None:
    """Raise an error for a resolution in other units than those of the CRS."""
    if resolution is None:
        return
    low, high = native * _FINEST, native * max(max(m.height, m.width) for m in maps)
    if not low <= resolution <= high:
        raise RasterError(
            f'resolution {resolution:g}: expected from {low:.3g} to {high:.3g} {_unit(crs)}, the '
            f'units of {crs_name(crs)}; the maps have {native:.3g}'
        )


def _place(
    maps: Sequence[ClassMapFile], crs: str, transform: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the boxes of maps in the pixels of a grid, and whether they are aligned with it."""
    inverse = gdal.InvGeoTransform(list(transform))
    boxes, aligned = np.empty((len(maps), 4), np.int64), np.zeros(len(maps), bool)
    for i, each in enumerate(maps):
        offset = _offset(each, transform) if each.crs == crs else None
        if offset is not None:
            column, row = offset
            boxes[i] = column, row, column + each.width, row + each.height
            aligned[i] = True
            continue
        outline = [(x * each.width, y * each.height) for x, y in OUTLINE]
        points = _transform(each, outline, crs)
        pixels = np.array([gdal.ApplyGeoTransform(inverse, *point) for point in points])
        low, high = pixels.min(0), pixels.max(0)
        if each.crs != crs:
            steps = np.abs(np.diff(pixels, axis=0)).max(0)
            if (steps > 0.5 * (high - low)).any():
                raise RasterError(
                    f'{each.path}: its outline is not connected in {crs_name(crs)}, as it crosses '
                    'the antimeridian or surrounds a pole: choose a projected CRS for this region'
                )
            low, high = low - 1, high + 1  # curved edges bulge between the points of the outline
        boxes[i] = *np.floor(low + 1e-6), *np.ceil(high - 1e-6)
    return boxes, aligned


def _offset(each: ClassMapFile, transform: tuple[float, ...]) -> tuple[int, int] | None:
    """Return column and row of a map in a grid of the same CRS; None if it is not aligned."""
    inverse = gdal.InvGeoTransform(list(transform))
    size = each.width, each.height
    corners = np.array([(0, 0), (size[0], 0), (0, size[1])])
    points = (gdal.ApplyGeoTransform(list(each.transform), *map(float, c)) for c in corners)
    found = np.array([gdal.ApplyGeoTransform(inverse, *point) for point in points])
    offset = np.rint(found[0])
    if np.abs(found - corners - offset).max() > _TOLERANCE:
        return None
    return int(offset[0]), int(offset[1])


def _unit(crs: str) -> str:
    system = osr.SpatialReference()
    system.ImportFromWkt(crs)
    if system.IsGeographic():
        return f'{system.GetAngularUnitsName()}s'
    return f'{system.GetLinearUnitsName()}s'
