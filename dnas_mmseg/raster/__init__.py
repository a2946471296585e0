"""Raster input and output through GDAL: exact samples, windowed reading, atomic writing."""

from ._gdal import RasterError, block_cache, forbid_network
from .arrays import ArrayName, array_shape, parse_array_name
from .georeference import GeoReference
from .polygons import write_polygons
from .reading import Raster, RasterInfo, Window, is_virtual, raster_stem, read_raster, source_files
from .strips import write_strips
from .validity import Samples
from .writing import GDAL_TYPES, write_raster

__all__ = [
    'GDAL_TYPES',
    'ArrayName',
    'GeoReference',
    'Raster',
    'RasterError',
    'RasterInfo',
    'Samples',
    'Window',
    'array_shape',
    'block_cache',
    'forbid_network',
    'is_virtual',
    'parse_array_name',
    'raster_stem',
    'read_raster',
    'source_files',
    'write_polygons',
    'write_raster',
    'write_strips',
]
