"""Heads, losses, data preprocessors and segmentors for mmseg, and deployment of any model."""

from .data_preprocessors import MultiBandDataPreProcessor
from .decode_heads import AutoDeepLabHead, DNASHead
from .deployment import switch_to_deploy
from .losses import LabelledCrossEntropyLoss, LabelledDiceLoss
from .segmentors import SearchedEncoderDecoder

__all__ = [
    'AutoDeepLabHead',
    'DNASHead',
    'LabelledCrossEntropyLoss',
    'LabelledDiceLoss',
    'MultiBandDataPreProcessor',
    'SearchedEncoderDecoder',
    'switch_to_deploy',
]
