"""Export of a class map as polygons (GeoPackage)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from osgeo import ogr

from ._gdal import gdal, gdal_exceptions
from .geopackage import write_geopackage
from .georeference import GeoReference
from .polygon_areas import PolygonAreas

_LAYER = 'classes'
_MIN_PIXELS, _SIMPLIFY, _CHECKSUM = 'dnas_min_pixels', 'dnas_simplify', 'dnas_checksum'
"""Metadata items of the layer: settings, and checksum of the features. QGIS leaves them as they are
when it edits features."""


def write_polygons(
    class_map: str | os.PathLike,
    path: str | os.PathLike,
    classes: Sequence[str],
    *,
    min_pixels: int = 1,
    simplify: float = 0.0,
) -> None:
    """Write a GeoPackage with a polygon for each connected area of a class (4-connectivity).

    The layer ``classes`` has the fields ``class_id`` (train id), ``class`` (name) and ``area_m2``
    (area on the ground in square metres, null if the map has no CRS). Nodata pixels are in no
    polygon. Without a geotransform, coordinates are pixels: columns and rows from the upper left
    corner.

    Args:
        class_map: Path of a single-band map of train ids, with nodata for pixels without a class.
        path: Path of the GeoPackage, ending in ``.gpkg``; written atomically.
        classes: Names of the classes, in train-id order.
        min_pixels: Smallest area in pixels; a smaller one is merged into its largest neighbour.
        simplify: Tolerance of the simplification in pixels. Neighbouring polygons may then overlap
            or leave gaps of this width.

    Raises:
        RasterError: The file cannot be written.
    """

    def fill(target) -> None:
        sieved_path = Path(target.GetDescription()).with_suffix('.sieved.tif')
        try:
            source = gdal.Open(os.fspath(class_map))
            if min_pixels > 1:
                source = _without_small_areas(source, str(sieved_path), min_pixels)
            _polygonize(source, target, classes, simplify)
            layer = target.GetLayer(_LAYER)
            layer.SetMetadataItem(_MIN_PIXELS, str(min_pixels))
            layer.SetMetadataItem(_SIMPLIFY, repr(float(simplify)))
            layer.SetMetadataItem(_CHECKSUM, _checksum(target))
            layer = None
        finally:
            source = None  # close it before it is removed
            for leftover in (sieved_path, Path(f'{sieved_path}.aux.xml')):
                leftover.unlink(missing_ok=True)

    write_geopackage(path, fill)


def read_polygon_settings(path: str | os.PathLike) -> tuple[int, float] | None:
    """Return ``min_pixels`` and ``simplify`` of a file of :func:`write_polygons`; None if unknown.

    Args:
        path: Path of the GeoPackage.
    """
    try:
        with gdal_exceptions():
            package = _open(path)  # its layers are invalid without it
            items = package.GetLayer(_LAYER).GetMetadata()
        return int(items[_MIN_PIXELS]), float(items[_SIMPLIFY])
    except (RuntimeError, AttributeError, KeyError, ValueError):
        return None


def are_polygons_edited(path: str | os.PathLike) -> bool:
    """Return whether a file differs from what :func:`write_polygons` wrote.

    Layers, fields, geometries and values count; opening the file in QGIS does not change them. Any
    other file counts as edited.

    Args:
        path: Path of the GeoPackage.
    """
    try:
        with gdal_exceptions():
            package = _open(path)
            stored = package.GetLayer(_LAYER).GetMetadataItem(_CHECKSUM)
            return stored != _checksum(package)
    except (RuntimeError, AttributeError):
        return True


def _open(path: str | os.PathLike) -> gdal.Dataset:
    return gdal.OpenEx(os.fspath(path), gdal.OF_VECTOR)


def _checksum(package: gdal.Dataset) -> str:
    """Return a checksum of all features of all layers."""
    digest = hashlib.blake2b(digest_size=16)
    for i in range(package.GetLayerCount()):
        layer = package.GetLayer(i)
        fields = [field.GetName() for field in layer.schema]
        digest.update(repr((layer.GetName(), fields)).encode())
        layer.ResetReading()
        for feature in layer:
            values = [feature.GetField(k) for k in range(len(fields))]
            digest.update(repr((feature.GetFID(), values)).encode())
            geometry = feature.geometry()
            digest.update(b'' if geometry is None else bytes(geometry.ExportToIsoWkb()))
    return digest.hexdigest()


def _without_small_areas(source, path: str, min_pixels: int):
    """Return a copy of a map with small areas merged into their largest neighbours."""
    options = ['TILED=YES', 'COMPRESS=DEFLATE', 'ZLEVEL=1', 'BIGTIFF=IF_SAFER']
    result = gdal.GetDriverByName('GTiff').CreateCopy(path, source, options=options)
    band = source.GetRasterBand(1)
    gdal.SieveFilter(band, band.GetMaskBand(), result.GetRasterBand(1), min_pixels, 4)
    result.FlushCache()
    return result


def _polygonize(source, target, classes: Sequence[str], simplify: float) -> None:
    band, place = source.GetRasterBand(1), GeoReference.read(source)
    # Coordinates in pixels have no CRS.
    crs = None if place.transform is None else source.GetSpatialRef()
    layer = target.CreateLayer(_LAYER, crs, ogr.wkbPolygon)
    for name, kind in (
        ('class_id', ogr.OFTInteger),
        ('class', ogr.OFTString),
        ('area_m2', ogr.OFTReal),
    ):
        layer.CreateField(ogr.FieldDefn(name, kind))
    transform = source.GetGeoTransform()
    tolerance = simplify * max(abs(transform[1]) + abs(transform[2]), abs(transform[5]))
    areas = PolygonAreas(crs)
    layer.StartTransaction()
    gdal.Polygonize(band, band.GetMaskBand(), layer, 0)
    for feature in layer:
        polygon = feature.geometry()
        if tolerance:
            polygon = polygon.SimplifyPreserveTopology(tolerance)
            feature.SetGeometry(polygon)
        area = areas.measure(polygon)
        if area is not None:
            feature['area_m2'] = area
        feature['class'] = classes[feature['class_id']]
        layer.SetFeature(feature)
    layer.CommitTransaction()
