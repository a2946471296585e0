"""Data sets of multi-band tiles, with their transforms and checks."""

from .array_tiles import list_array_tiles
from .base import InspectableDataset
from .checks import inspect_pairs, summarise
from .description import DatasetDescription, DatasetError
from .duplicates import TileRegister
from .fbp import FBPDataset
from .gid5 import GID5Dataset
from .gid15 import GID15Dataset
from .labels import LabelEncoding, LabelError, class_weights
from .multi_band import MultiBandSegDataset, dataset_parts, multi_band_parts
from .torchgeo import TorchGeoDataset
from .transforms import (
    LoadRasterAnnotations,
    LoadRasterFromFile,
    LoadTorchGeoImage,
    LoadTorchGeoMask,
    MultiBandPhotoMetricDistortion,
    MultiBandRandomRotate,
    RandomClassMix,
    SelectBands,
)

__all__ = [
    'DatasetDescription',
    'DatasetError',
    'FBPDataset',
    'GID5Dataset',
    'GID15Dataset',
    'InspectableDataset',
    'LabelEncoding',
    'LabelError',
    'LoadRasterAnnotations',
    'LoadRasterFromFile',
    'LoadTorchGeoImage',
    'LoadTorchGeoMask',
    'MultiBandPhotoMetricDistortion',
    'MultiBandRandomRotate',
    'MultiBandSegDataset',
    'RandomClassMix',
    'SelectBands',
    'TileRegister',
    'TorchGeoDataset',
    'class_weights',
    'dataset_parts',
    'inspect_pairs',
    'list_array_tiles',
    'multi_band_parts',
    'summarise',
]
