"""The only place that knows GDAL: exact reading whatever the tags, windows, atomic writing."""

from ._gdal import RasterError, block_cache
from .bands import RGB, band_names
from .polygons import write_polygons
from .reading import Raster, RasterInfo, Window, nodata_mask, read_raster
from .strips import write_strips
from .writing import GDAL_TYPES, write_raster

__all__ = [
    'GDAL_TYPES',
    'RGB',
    'Raster',
    'RasterError',
    'RasterInfo',
    'Window',
    'band_names',
    'block_cache',
    'nodata_mask',
    'read_raster',
    'write_polygons',
    'write_raster',
    'write_strips',
]
