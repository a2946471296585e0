"""Raster input and output through GDAL: exact samples, windowed reading, atomic writing."""

from ._gdal import RasterError, block_cache, forbid_network
from .georeference import GeoReference
from .polygons import write_polygons
from .reading import (
    RASTER_SUFFIXES,
    VECTOR_SUFFIXES,
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
from .vectors import (
    OverlapError,
    Polygon,
    find_empty_features,
    list_field_values,
    rasterize_polygons,
    read_polygons,
)
from .warping import find_overlap, warp_classes
from .writing import GDAL_TYPES, write_raster

__all__ = [
    'GDAL_TYPES',
    'RASTER_SUFFIXES',
    'VECTOR_SUFFIXES',
    'GeoReference',
    'OverlapError',
    'Polygon',
    'Raster',
    'RasterError',
    'RasterInfo',
    'Samples',
    'Window',
    'block_cache',
    'find_empty_features',
    'find_overlap',
    'forbid_network',
    'is_virtual',
    'list_field_values',
    'raster_stem',
    'rasterize_polygons',
    'read_polygons',
    'read_raster',
    'source_files',
    'warp_classes',
    'write_polygons',
    'write_raster',
    'write_strips',
]
