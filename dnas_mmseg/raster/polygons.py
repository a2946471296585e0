"""Export of a class map as polygons."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from osgeo import ogr, osr

from dnas_mmseg.files import atomic_path

from ._gdal import RasterError, gdal, gdal_exceptions
from .georeference import GeoReference

_EQUAL_AREA = '+proj=laea +lat_0={latitude:.4f} +lon_0={longitude:.4f} +datum=WGS84 +units=m'
"""A projection that keeps areas, centred on the map."""


def write_polygons(
    class_map: str | os.PathLike,
    path: str | os.PathLike,
    classes: Sequence[str],
    *,
    min_pixels: int = 1,
    simplify: float = 0.0,
) -> None:
    """Write a GeoPackage with a polygon for each connected area of one class.

    Pixels that touch by a corner only are not connected. The layer ``classes`` has the fields
    ``class_id`` (train id), ``class`` (name) and ``area_m2`` (area on the ground in square metres,
    empty where the map has no reference system); pixels without a class are in no polygon.

    Args:
        class_map: Path of a map of one band, with nodata where there is no class.
        path: Path of the file, ending in ``.gpkg``; it appears when it is complete.
        classes: Names of the classes, in train-id order.
        min_pixels: Number of pixels that an area must have; a smaller one becomes a part of its
            largest neighbour.
        simplify: Distance in pixels by which outlines may move to get fewer corners; neighbours
            may then overlap, or leave gaps, by as much.

    Raises:
        RasterError: The file cannot be written.
    """
    try:
        with atomic_path(path) as temporary, gdal_exceptions():
            temporary.unlink()  # the driver makes files, it does not fill them
            gdal.ErrorReset()
            target = gdal.GetDriverByName('GPKG').Create(str(temporary), 0, 0, 0, gdal.GDT_Unknown)
            sieved = temporary.with_suffix('.sieved.tif')
            try:
                source = gdal.Open(os.fspath(class_map))
                if min_pixels > 1:
                    source = _without_small_areas(source, str(sieved), min_pixels)
                _trace(source, target, classes, simplify)
                target.FlushCache()
            finally:
                target = source = None  # closed before it gets its name
                name = glob.escape(temporary.name)
                journals = temporary.parent.glob(f'{name}-*')
                for leftover in (*journals, sieved, Path(f'{sieved}.aux.xml')):
                    leftover.unlink(missing_ok=True)
            # Closing a file writes the rest of it, and reports a full disk this way only.
            if gdal.GetLastErrorType() >= gdal.CE_Failure:
                raise RuntimeError(gdal.GetLastErrorMsg())
    except (RuntimeError, OSError) as error:
        raise RasterError(f'{path}: cannot be written ({error})') from error


def _without_small_areas(source, path: str, min_pixels: int):
    """Return a copy of a map in which small areas are part of their largest neighbours."""
    options = ['TILED=YES', 'COMPRESS=DEFLATE', 'ZLEVEL=1', 'BIGTIFF=IF_SAFER']
    result = gdal.GetDriverByName('GTiff').CreateCopy(path, source, options=options)
    band = source.GetRasterBand(1)
    gdal.SieveFilter(band, band.GetMaskBand(), result.GetRasterBand(1), min_pixels, 4)
    result.FlushCache()
    return result


def _trace(source, target, classes: Sequence[str], simplify: float) -> None:
    band, system = source.GetRasterBand(1), source.GetSpatialRef()
    layer = target.CreateLayer('classes', system, ogr.wkbPolygon)
    for name, kind in (
        ('class_id', ogr.OFTInteger),
        ('class', ogr.OFTString),
        ('area_m2', ogr.OFTReal),
    ):
        layer.CreateField(ogr.FieldDefn(name, kind))
    transform = source.GetGeoTransform()
    tolerance = simplify * max(abs(transform[1]) + abs(transform[2]), abs(transform[5]))
    flat = _equal_area(source)
    layer.StartTransaction()
    gdal.Polygonize(band, band.GetMaskBand(), layer, 0)
    for feature in layer:
        shape = feature.geometry()
        if tolerance:
            shape = shape.SimplifyPreserveTopology(tolerance)
            feature.SetGeometry(shape)
        if flat is not None:
            ground = shape.Clone()
            with suppress(RuntimeError):  # a corner that is not on the Earth
                ground.Transform(flat)
                feature['area_m2'] = ground.GetArea()
        feature['class'] = classes[feature['class_id']]
        layer.SetFeature(feature)
    layer.CommitTransaction()


def _equal_area(source) -> osr.CoordinateTransformation | None:
    """Return the way from a map's system to one that keeps areas; None from one on no Earth."""
    middle = GeoReference.read(source).to_lonlat([(source.RasterXSize / 2, source.RasterYSize / 2)])
    if middle is None:
        return None
    [(longitude, latitude)] = middle
    target = osr.SpatialReference()
    target.ImportFromProj4(_EQUAL_AREA.format(latitude=latitude, longitude=longitude))
    return osr.CoordinateTransformation(source.GetSpatialRef(), target)
