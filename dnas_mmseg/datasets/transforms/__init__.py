"""Transforms for multi-band images."""

from .loading import LoadRasterAnnotations, LoadRasterFromFile, SelectBands
from .mixing import RandomClassMix
from .photometric import MultiBandPhotoMetricDistortion
from .rotation import MultiBandRandomRotate
from .torchgeo import LoadTorchGeoImage, LoadTorchGeoMask

__all__ = [
    'LoadRasterAnnotations',
    'LoadRasterFromFile',
    'LoadTorchGeoImage',
    'LoadTorchGeoMask',
    'MultiBandPhotoMetricDistortion',
    'MultiBandRandomRotate',
    'RandomClassMix',
    'SelectBands',
]
