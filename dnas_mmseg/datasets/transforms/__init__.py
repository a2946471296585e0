"""Transforms of multi-band images."""

from .loading import LoadRasterAnnotations, LoadRasterFromFile, SelectBands
from .photometric import MultiBandPhotoMetricDistortion

__all__ = [
    'LoadRasterAnnotations',
    'LoadRasterFromFile',
    'MultiBandPhotoMetricDistortion',
    'SelectBands',
]
