"""Export of a class map as polygons (GeoPackage)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from osgeo import ogr, osr

from ._gdal import gdal
from .areas import equal_area_crs
from .geopackage import write_geopackage
from .georeference import GeoReference


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
    polygon.

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
        finally:
            source = None  # close it before it is removed
            for leftover in (sieved_path, Path(f'{sieved_path}.aux.xml')):
                leftover.unlink(missing_ok=True)

    write_geopackage(path, fill)


def _without_small_areas(source, path: str, min_pixels: int):
    """Return a copy of a map with small areas merged into their largest neighbours."""
    options = ['TILED=YES', 'COMPRESS=DEFLATE', 'ZLEVEL=1', 'BIGTIFF=IF_SAFER']
    result = gdal.GetDriverByName('GTiff').CreateCopy(path, source, options=options)
    band = source.GetRasterBand(1)
    gdal.SieveFilter(band, band.GetMaskBand(), result.GetRasterBand(1), min_pixels, 4)
    result.FlushCache()
    return result


def _polygonize(source, target, classes: Sequence[str], simplify: float) -> None:
    band, crs = source.GetRasterBand(1), source.GetSpatialRef()
    layer = target.CreateLayer('classes', crs, ogr.wkbPolygon)
    for name, kind in (
        ('class_id', ogr.OFTInteger),
        ('class', ogr.OFTString),
        ('area_m2', ogr.OFTReal),
    ):
        layer.CreateField(ogr.FieldDefn(name, kind))
    transform = source.GetGeoTransform()
    tolerance = simplify * max(abs(transform[1]) + abs(transform[2]), abs(transform[5]))
    to_equal_area = _equal_area(source)
    layer.StartTransaction()
    gdal.Polygonize(band, band.GetMaskBand(), layer, 0)
    for feature in layer:
        polygon = feature.geometry()
        if tolerance:
            polygon = polygon.SimplifyPreserveTopology(tolerance)
            feature.SetGeometry(polygon)
        if to_equal_area is not None:
            ground = polygon.Clone()
            with suppress(RuntimeError):  # a corner is not on the Earth
                ground.Transform(to_equal_area)
                feature['area_m2'] = ground.GetArea()
        feature['class'] = classes[feature['class_id']]
        layer.SetFeature(feature)
    layer.CommitTransaction()


def _equal_area(source) -> osr.CoordinateTransformation | None:
    """Return the transformation to an equal-area CRS; None if the map is not on the Earth."""
    middle = GeoReference.read(source).to_lonlat([(source.RasterXSize / 2, source.RasterYSize / 2)])
    if middle is None:
        return None
    [(longitude, latitude)] = middle
    target = osr.SpatialReference()
    target.ImportFromWkt(equal_area_crs(longitude, latitude))
    return osr.CoordinateTransformation(source.GetSpatialRef(), target)
