"""Raster input and output through GDAL: exact samples, windowed reading, atomic writing."""

from ._gdal import RasterError, block_cache, forbid_network
from .georeference import GeoReference
from .polygons import write_polygons
from .reading import (
    RASTER_SUFFIXES,
    Raster,
    RasterInfo,
    Window,
    is_virtual,
    raster_stem,
    read_raster,
    source_files,
)
from .strips import write_strips
from .validity import Samples
from .writing import GDAL_TYPES, write_raster

__all__ = [
    'GDAL_TYPES',
    'RASTER_SUFFIXES',
    'GeoReference',
    'Raster',
    'RasterError',
    'RasterInfo',
    'Samples',
    'Window',
    'block_cache',
    'forbid_network',
    'is_virtual',
    'raster_stem',
    'read_raster',
    'source_files',
    'write_polygons',
    'write_raster',
    'write_strips',
]
