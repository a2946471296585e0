"""Networks as mmseg models."""

from .backbones import DNAS, DNASCellSupernet, DNASConnectionSupernet, DNASPathSupernet
from .data_preprocessors import MultiBandDataPreProcessor
from .decode_heads import DNASHead
from .losses import LabelledCrossEntropyLoss
from .segmentors import SearchedEncoderDecoder
from .supernet import Supernet

__all__ = [
    'DNAS',
    'DNASCellSupernet',
    'DNASConnectionSupernet',
    'DNASHead',
    'DNASPathSupernet',
    'LabelledCrossEntropyLoss',
    'MultiBandDataPreProcessor',
    'SearchedEncoderDecoder',
    'Supernet',
]
