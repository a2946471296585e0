"""Transforms for multi-band images."""

from .loading import LoadRasterAnnotations, LoadRasterFromFile, SelectBands
from .mixing import RandomClassMix
from .photometric import MultiBandPhotoMetricDistortion
from .rotation import MultiBandRandomRotate

__all__ = [
    'LoadRasterAnnotations',
    'LoadRasterFromFile',
    'MultiBandPhotoMetricDistortion',
    'MultiBandRandomRotate',
    'RandomClassMix',
    'SelectBands',
]
