"""Networks as mmseg models."""

from .backbones import DNAS
from .data_preprocessors import MultiBandDataPreProcessor
from .decode_heads import DNASHead
from .losses import LabelledCrossEntropyLoss
from .segmentors import SearchedEncoderDecoder

__all__ = [
    'DNAS',
    'DNASHead',
    'LabelledCrossEntropyLoss',
    'MultiBandDataPreProcessor',
    'SearchedEncoderDecoder',
]
