"""Warping of class maps to the grid of another raster."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from dnas_mmseg.classes import NO_CLASS

from ._gdal import RasterError, gdal, gdal_exceptions
from .georeference import transform_points
from .raster_info import RasterInfo
from .remote import network_settings
from .windows import Window

RESAMPLINGS = ('nearest', 'mode')
"""Resampling methods for classes."""

_MARGIN = 2
"""Pixels around the part of a raster that covers another one, for resampling at its border."""


def find_overlap(source: RasterInfo, grid: RasterInfo) -> tuple[Window | None, float]:
    """Return the part of a raster that covers another one, whatever their CRS.

    Args:
        source: Metadata of the raster; both must have a geotransform and a CRS.
        grid: Metadata of the raster to cover.

    Returns:
        Window of ``source``, None if the rasters do not overlap; and the share of the pixels of
        ``grid`` that lie in ``source``, from a regular sample of 64 x 64 positions.

    Raises:
        RasterError: A raster has no geotransform or CRS, or positions cannot be transformed.
    """
    for info in (source, grid):
        if info.georeference.transform is None or not info.georeference.crs:
            raise RasterError(
                f'{info.path}: no geotransform or CRS, which a label on another grid requires'
            )
    steps = (np.arange(64) + 0.5) / 64
    edges = np.linspace(0, 1, 65)
    inner = [(x, y) for y in steps for x in steps]
    border = [(x, y) for x in edges for y in (0, 1)] + [(x, y) for y in edges for x in (0, 1)]
    pixels = [(x * grid.width, y * grid.height) for x, y in [*inner, *border]]
    to_ground = list(grid.georeference.transform or ())
    points = transform_points(
        grid.georeference.crs,
        source.georeference.crs,
        [gdal.ApplyGeoTransform(to_ground, *pixel) for pixel in pixels],
    )
    if points is None:
        raise RasterError(f'{grid.path}: it cannot be located in the CRS of {source.path}')
    inverse = gdal.InvGeoTransform(list(source.georeference.transform or ()))
    columns, rows = np.array([gdal.ApplyGeoTransform(inverse, *point) for point in points]).T
    inside = (columns >= 0) & (columns <= source.width) & (rows >= 0) & (rows <= source.height)
    share = float(inside[: len(inner)].mean())
    left, top = (max(0, int(np.floor(v.min())) - _MARGIN) for v in (columns, rows))
    right = min(source.width, int(np.ceil(columns.max())) + _MARGIN)
    bottom = min(source.height, int(np.ceil(rows.max())) + _MARGIN)
    if right <= left or bottom <= top:
        return None, 0.0
    return Window(left, top, right - left, bottom - top), share


def warp_options(resampling: str) -> dict[str, Any]:
    """Return arguments of ``gdal.Warp`` for rasters of uint8 with nodata 255.

    Args:
        resampling: One of ``RESAMPLINGS``, or another method of GDAL.
    """
    return dict(
        resampleAlg='near' if resampling == 'nearest' else resampling,
        srcNodata=NO_CLASS,
        dstNodata=NO_CLASS,
        errorThreshold=0,  # exact transformation of each pixel
        overviewLevel='NONE',  # overviews are resampled already
        warpOptions=[f'INIT_DEST={NO_CLASS}'],
    )


def warp_classes(
    source: str | os.PathLike, grid: RasterInfo, path: str | os.PathLike, resampling: str
) -> None:
    """Warp a map of train ids to a grid.

    Args:
        source: Path of a uint8 map of train ids with 255 for unlabelled pixels.
        grid: Metadata of the raster that defines the grid.
        path: GeoTIFF to write, with 255 beyond the source.
        resampling: ``'nearest'``; or ``'mode'``, the most frequent class of the pixels inside a
            pixel of the grid, for a source of higher resolution. Unlabelled pixels do not count.

    Raises:
        RasterError: The map cannot be warped.
    """
    try:
        with gdal_exceptions(), network_settings():
            target = gdal.GetDriverByName('GTiff').Create(
                os.fspath(path), grid.width, grid.height, 1, gdal.GDT_Byte,
                ['TILED=YES', 'COMPRESS=DEFLATE', 'ZLEVEL=1', 'BIGTIFF=IF_SAFER'],
            )  # fmt: skip
            grid.georeference.write(target)
            target.GetRasterBand(1).SetNoDataValue(NO_CLASS)
            gdal.Warp(
                target,
                os.fspath(source),
                **warp_options(resampling),
            )
            target.FlushCache()
    except RuntimeError as error:
        raise RasterError(
            f'{source}: cannot be warped to the grid of {grid.path} ({error})'
        ) from error
