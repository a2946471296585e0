"""Raster input and output through GDAL: exact samples, windowed reading, atomic writing."""

from ._gdal import RasterError, block_cache, forbid_network, is_network_forbidden
from .areas import ClassAreas, class_areas, ground_areas
from .arrays import ArrayName, array_shape, parse_array_name
from .band_pattern import pattern_scenes
from .georeference import GeoReference
from .mosaic import MOSAIC_OVERLAPS, check_mosaic_path, write_mosaic
from .mosaic_grid import parse_crs
from .names import (
    RASTER_SUFFIXES,
    VECTOR_SUFFIXES,
    distinguish_stems,
    is_geodatabase,
    is_vector,
    is_virtual,
    raster_stem,
)
from .polygons import are_polygons_edited, read_polygon_settings, write_polygons
from .raster_info import RasterInfo
from .reading import Raster, file_on_disk, read_raster, source_files
from .resolving import (
    ResolvedScene,
    detect_scene,
    find_scenes_of,
    resolve_scene,
    resolve_scenes,
    scene_stem,
)
from .scene_files import BandSource, InvalidScene, MultiFileScene, QualityBand
from .scene_mask import MaskValues
from .scene_vrt import SceneStack, build_scene_vrt
from .stac_items import ItemScenes, read_items
from .strips import write_strips
from .validity import Samples, valid_pixels
from .vectors import (
    OverlapError,
    Polygon,
    find_empty_features,
    list_field_values,
    rasterize_polygons,
    read_polygons,
)
from .warping import RESAMPLINGS, find_overlap, warp_classes
from .windows import Window, row_windows
from .writing import GDAL_TYPES, write_raster
from .zones import Zone, ZoneLayer, read_zones, write_zones, zone_areas

__all__ = [
    'GDAL_TYPES',
    'MOSAIC_OVERLAPS',
    'RASTER_SUFFIXES',
    'RESAMPLINGS',
    'VECTOR_SUFFIXES',
    'ArrayName',
    'BandSource',
    'ClassAreas',
    'GeoReference',
    'InvalidScene',
    'ItemScenes',
    'MaskValues',
    'MultiFileScene',
    'OverlapError',
    'Polygon',
    'QualityBand',
    'Raster',
    'RasterError',
    'RasterInfo',
    'ResolvedScene',
    'Samples',
    'SceneStack',
    'Window',
    'Zone',
    'ZoneLayer',
    'are_polygons_edited',
    'array_shape',
    'block_cache',
    'build_scene_vrt',
    'check_mosaic_path',
    'class_areas',
    'detect_scene',
    'distinguish_stems',
    'file_on_disk',
    'find_empty_features',
    'find_overlap',
    'find_scenes_of',
    'forbid_network',
    'ground_areas',
    'is_geodatabase',
    'is_network_forbidden',
    'is_vector',
    'is_virtual',
    'list_field_values',
    'parse_array_name',
    'parse_crs',
    'pattern_scenes',
    'raster_stem',
    'rasterize_polygons',
    'read_items',
    'read_polygon_settings',
    'read_polygons',
    'read_raster',
    'read_zones',
    'resolve_scene',
    'resolve_scenes',
    'row_windows',
    'scene_stem',
    'source_files',
    'valid_pixels',
    'warp_classes',
    'write_mosaic',
    'write_polygons',
    'write_raster',
    'write_strips',
    'write_zones',
    'zone_areas',
]
