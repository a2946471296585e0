"""Export of a class map as polygons."""

from __future__ import annotations

import os
from collections.abc import Sequence

from osgeo import ogr

from dnas_mmseg.files import atomic_path

from ._gdal import RasterError, gdal, gdal_exceptions


def write_polygons(
    class_map: str | os.PathLike, path: str | os.PathLike, classes: Sequence[str]
) -> None:
    """Write a GeoPackage with a polygon for each connected area of one class.

    Pixels that touch by a corner only are not connected. The layer ``classes`` has the fields
    ``class_id`` (train id) and ``class`` (name); pixels without a class are in no polygon.

    Args:
        class_map: Path of a map of one band, with nodata where there is no class.
        path: Path of the file, ending in ``.gpkg``; it appears when it is complete.
        classes: Names of the classes, in train-id order.

    Raises:
        RasterError: The file cannot be written.
    """
    try:
        with atomic_path(path) as temporary, gdal_exceptions():
            temporary.unlink()  # the driver makes files, it does not fill them
            gdal.ErrorReset()
            target = gdal.GetDriverByName('GPKG').Create(str(temporary), 0, 0, 0, gdal.GDT_Unknown)
            try:
                _trace(gdal.Open(os.fspath(class_map)), target, classes)
                target.FlushCache()
            finally:
                target = None  # closed before it gets its name
                for leftover in temporary.parent.glob(f'{temporary.name}-*'):
                    leftover.unlink()
            # Closing a file writes the rest of it, and reports a full disk this way only.
            if gdal.GetLastErrorType() >= gdal.CE_Failure:
                raise RuntimeError(gdal.GetLastErrorMsg())
    except (RuntimeError, OSError) as error:
        raise RasterError(f'{path}: cannot be written ({error})') from error


def _trace(source, target, classes: Sequence[str]) -> None:
    band = source.GetRasterBand(1)
    layer = target.CreateLayer('classes', source.GetSpatialRef(), ogr.wkbPolygon)
    for name, kind in (('class_id', ogr.OFTInteger), ('class', ogr.OFTString)):
        layer.CreateField(ogr.FieldDefn(name, kind))
    layer.StartTransaction()
    gdal.Polygonize(band, band.GetMaskBand(), layer, 0)
    layer.CommitTransaction()
    for i, name in enumerate(classes):
        quoted = name.replace("'", "''")
        target.ExecuteSQL(f"UPDATE classes SET class = '{quoted}' WHERE class_id = {i}")
