"""Transforms of multi-band images."""

from .loading import LoadRasterAnnotations, LoadRasterFromFile, SelectBands
from .photometric import MultiBandPhotoMetricDistortion
from .rotation import MultiBandRandomRotate

__all__ = [
    'LoadRasterAnnotations',
    'LoadRasterFromFile',
    'MultiBandPhotoMetricDistortion',
    'MultiBandRandomRotate',
    'SelectBands',
]
