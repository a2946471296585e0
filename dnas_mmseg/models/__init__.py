"""Networks as mmseg models."""

from .backbones import (
    DNAS,
    AutoDeepLab,
    DenseNAS,
    DNASCellSupernet,
    DNASConnectionSupernet,
    DNASPathSupernet,
)
from .data_preprocessors import MultiBandDataPreProcessor
from .decode_heads import AutoDeepLabHead, DNASHead
from .losses import LabelledCrossEntropyLoss
from .segmentors import SearchedEncoderDecoder
from .supernet import Supernet

__all__ = [
    'DNAS',
    'AutoDeepLab',
    'AutoDeepLabHead',
    'DNASCellSupernet',
    'DNASConnectionSupernet',
    'DNASHead',
    'DNASPathSupernet',
    'DenseNAS',
    'LabelledCrossEntropyLoss',
    'MultiBandDataPreProcessor',
    'SearchedEncoderDecoder',
    'Supernet',
]
