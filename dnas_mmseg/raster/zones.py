"""Areas of the classes of a map in zones, such as administrative polygons."""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from osgeo import ogr, osr

from dnas_mmseg.classes import NO_CLASS

from ._gdal import RasterError, block_cache, gdal, gdal_exceptions
from .areas import ClassAreas, count_classes, ground_areas, mapped_part
from .geopackage import write_geopackage
from .polygon_areas import PolygonAreas
from .raster_info import RasterInfo
from .reading import Raster
from .vectors import (
    Polygon,
    burn_polygons,
    check_field,
    field_value,
    layer_crs,
    open_layer,
    polygonal,
    read_polygons,
    repair_polygon,
)
from .windows import Window, block_windows

_BLOCK = 2048
"""Side of the blocks that are read, in pixels; a multiple of the tiles of a map."""

_CACHE = 256 << 20
"""Size of GDAL's block cache, in bytes."""


@dataclass(frozen=True)
class Zone:
    """Polygon in which classes are counted.

    Attributes:
        fid: Feature id in the layer.
        name: Name of the zone; not necessarily unique.
        geometry: Polygon or multipolygon in the CRS of the layer; None if the feature has none.
        square_metres: Area on the ground; None if it is unknown.
    """

    fid: int
    name: str
    geometry: Any
    square_metres: float | None

    def coverage(self, areas: ClassAreas) -> float | None:
        """Return the share of the zone that is mapped, 0 to 1; None if its area is unknown."""
        if not self.square_metres:
            return None
        return min(1.0, float(areas.square_metres.sum()) / self.square_metres)


@dataclass(frozen=True)
class ZoneLayer:
    """Zones of a vector file.

    Attributes:
        path: Path of the file.
        layer: Name of the layer.
        crs: CRS of the geometries as WKT.
        zones: Zones in the order of the layer.
        notes: Notes on repaired and empty geometries, one line each.
    """

    path: str
    layer: str
    crs: str
    zones: tuple[Zone, ...]
    notes: tuple[str, ...]


def read_zones(path: str | os.PathLike, field: str = '', layer: str = '') -> ZoneLayer:
    """Read and check the zones of a vector file.

    Args:
        path: Vector file of any format that GDAL reads, e.g. GeoPackage, GeoJSON or Shapefile.
        field: Field with the names of the zones; defaults to the first text field, else to the
            feature id.
        layer: Name of the layer; required if the file has several.

    Raises:
        RasterError: The file is unreadable, has no CRS or no features, layer or field do not exist,
            or a feature is not a polygon, or is invalid and a repair would change its area.
    """
    name = os.fspath(path)
    zones: list[Zone] = []
    repaired: list[int] = []
    with gdal_exceptions():
        dataset, source = open_layer(path, layer, option='--zone-layer')
        field = field or _text_field(source)
        if field:
            check_field(path, source, field)
        crs = layer_crs(name, source)
        areas = PolygonAreas(crs)
        for feature in source:
            fid, geometry = feature.GetFID(), feature.geometry()
            value = field_value(path, feature, field) if field else None
            where = f'{name}: feature {fid}'
            if geometry is None or geometry.IsEmpty():
                geometry = None
            else:
                geometry = polygonal(geometry, where)
                gdal.ErrorReset()
                if not geometry.IsValid():
                    geometry = repair_polygon(geometry, where, gdal.GetLastErrorMsg())
                    repaired.append(fid)
            area = None if geometry is None else areas.measure(geometry)
            zones.append(Zone(fid, str(fid if value is None else value), geometry, area))
        layer_name = source.GetName()
        del source, dataset
    if not zones:
        raise RasterError(f'{name}: layer {layer_name} has no features, so there are no zones')
    if len({zone.fid for zone in zones}) < len(zones):
        # GDAL 3.6 numbers some GeoJSON features without ids 0, 1, 1, 1.
        zones = [
            replace(zone, fid=i, name=zone.name if field else str(i))
            for i, zone in enumerate(zones, 1)
        ]
    empty = [zone.fid for zone in zones if zone.geometry is None]
    notes = [
        f'{name}: {len(fids)} {what}, such as feature {fids[0]}'
        for fids, what in (
            (repaired, 'invalid zones were repaired without a change of area'),
            (empty, 'zones have no geometry and count no pixels'),
        )
        if fids
    ]
    return ZoneLayer(name, layer_name, crs.ExportToWkt(), tuple(zones), tuple(notes))


def _text_field(layer: Any) -> str:
    """Return the first text field of a layer; empty if there is none."""
    definition = layer.GetLayerDefn()
    fields = (definition.GetFieldDefn(i) for i in range(definition.GetFieldCount()))
    return next((f.GetName() for f in fields if f.GetType() == ogr.OFTString), '')


def zone_areas(
    zones: ZoneLayer,
    class_map: str | os.PathLike,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> list[ClassAreas]:
    """Return pixels and ground area of each class in each zone.

    A pixel belongs to the zones that contain its centre: in zones that overlap it counts for each.
    Only the blocks of the map that a zone touches are read.

    Args:
        zones: Zones of :func:`read_zones`, in any CRS.
        class_map: Path of a class map with a geotransform and a CRS.
        advance: Progress callback, called with the numbers of finished and of all blocks.

    Returns:
        Areas by zone.

    Raises:
        RasterError: The map is unreadable or has no georeference, or a zone cannot be transformed
            to its CRS.

    Example:
        >>> zones = read_zones('districts.gpkg')  # doctest: +SKIP
        >>> zone_areas(zones, 'country.tif')[0].square_metres  # doctest: +SKIP
        array([  52300.,       0., 1204500.])
    """
    with block_cache(_CACHE), Raster(class_map) as raster:
        info = raster.info
        with _zone_file(zones) as path:
            polygons, _ = read_polygons(path, info)
        boxes = np.array([_pixel_box(polygon, info) for polygon in polygons]).reshape(-1, 4)
        count = len(info.class_names)
        pixels = np.zeros((len(zones.zones), count), np.int64)
        metres = np.zeros((len(zones.zones), count))
        blocks = block_windows(*info.shape, _BLOCK)
        for done, block in enumerate(blocks):
            left, top, width, height = block
            touched = np.flatnonzero(
                (boxes[:, 0] < left + width) & (boxes[:, 2] > left)
                & (boxes[:, 1] < top + height) & (boxes[:, 3] > top)
            )  # fmt: skip
            classes = raster.read(block)[0] if touched.size else np.empty((0, 0), np.uint8)
            mapped = mapped_part(classes, block) if touched.size else None
            if mapped is not None:
                areas = ground_areas(info.georeference, mapped, raster.path)
                for index in touched:
                    x0, y0, x1, y1 = (int(v) for v in boxes[index])
                    part = Window(x0, y0, x1 - x0, y1 - y0).intersect(mapped)
                    if part is None:
                        continue
                    polygon = polygons[index]
                    inside = burn_polygons([polygon], [0], info, part, all_touched=False) >= 0
                    found = count_classes(
                        np.where(inside, classes[part.slices_in(block)], np.uint8(NO_CLASS)),
                        areas[part.slices_in(mapped)],
                        count,
                    )
                    pixels[polygon.fid - 1] += found.pixels
                    metres[polygon.fid - 1] += found.square_metres
            advance(done + 1, len(blocks))
    return [ClassAreas(*pair) for pair in zip(pixels, metres, strict=True)]


@contextmanager
def _zone_file(zones: ZoneLayer) -> Iterator[str]:
    """Write the zones to a file in memory, whose feature ids count them from 1."""
    path = f'/vsimem/{uuid.uuid4().hex}.gpkg'
    with gdal_exceptions():
        target = gdal.GetDriverByName('GPKG').Create(path, 0, 0, 0, gdal.GDT_Unknown)
        try:
            crs = osr.SpatialReference()
            crs.ImportFromWkt(zones.crs)
            layer = target.CreateLayer('zones', crs, ogr.wkbUnknown)
            layer.StartTransaction()
            for number, zone in enumerate(zones.zones, 1):
                if zone.geometry is not None:
                    feature = ogr.Feature(layer.GetLayerDefn())
                    feature.SetFID(number)
                    feature.SetGeometry(zone.geometry)
                    layer.CreateFeature(feature)
            layer.CommitTransaction()
            del layer, target
            yield path
        finally:
            gdal.Unlink(path)


def _pixel_box(polygon: Polygon, grid: RasterInfo) -> tuple[int, int, int, int]:
    """Return first column, first row, end column and end row around a polygon."""
    inverse = gdal.InvGeoTransform(list(grid.georeference.transform or ()))
    west, east, south, north = polygon.geometry.GetEnvelope()
    corners = [(x, y) for x in (west, east) for y in (south, north)]
    pixels = np.array([gdal.ApplyGeoTransform(inverse, *corner) for corner in corners])
    low, high = np.floor(pixels.min(0)), np.ceil(pixels.max(0))
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def write_zones(
    path: str | os.PathLike,
    zones: ZoneLayer,
    areas: Sequence[ClassAreas],
    classes: Sequence[str],
) -> None:
    """Write a GeoPackage of zones with the area of each class.

    The layer ``zones`` has the feature ids and the CRS of the zones' file, and the fields ``zone``
    (name), ``area_m2`` (area of the zone), ``mapped_m2`` (its mapped area), ``coverage`` (share of
    the zone that is mapped), and ``m2_<class>``, all in square metres on the ground.

    Args:
        path: Path of the GeoPackage, ending in ``.gpkg``; written atomically.
        zones: Zones of :func:`read_zones`.
        areas: Areas by zone of :func:`zone_areas`.
        classes: Names of the classes, in train-id order.

    Raises:
        RasterError: The file cannot be written.
    """
    count = Counter(name.lower() for name in classes)  # field names ignore case
    fields = [
        f'm2_{name}' if count[name.lower()] == 1 else f'm2_{name}_{i}'
        for i, name in enumerate(classes)
    ]

    def fill(target: Any) -> None:
        crs = osr.SpatialReference()
        crs.ImportFromWkt(zones.crs)
        layer = target.CreateLayer('zones', crs, ogr.wkbMultiPolygon)
        layer.CreateField(ogr.FieldDefn('zone', ogr.OFTString))
        for name in ('area_m2', 'mapped_m2', 'coverage', *fields):
            layer.CreateField(ogr.FieldDefn(name, ogr.OFTReal))
        layer.StartTransaction()
        for zone, found in zip(zones.zones, areas, strict=True):
            feature = ogr.Feature(layer.GetLayerDefn())
            feature.SetFID(zone.fid)
            feature['zone'] = zone.name
            values = (zone.square_metres, found.square_metres.sum(), zone.coverage(found))
            for name, value in zip(
                ('area_m2', 'mapped_m2', 'coverage', *fields),
                (*values, *found.square_metres),
                strict=True,
            ):
                if value is not None:
                    feature[name] = float(value)
            if zone.geometry is not None:
                feature.SetGeometry(ogr.ForceToMultiPolygon(zone.geometry.Clone()))
            layer.CreateFeature(feature)
        layer.CommitTransaction()

    write_geopackage(path, fill)
