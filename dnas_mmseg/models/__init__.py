"""Encoders, heads, losses, preprocessors and segmentors for mmseg; deployment of any model."""

from .backbones import TIMMEncoder
from .data_preprocessors import MultiBandDataPreProcessor
from .decode_heads import AutoDeepLabHead, DNASHead, UNetHead
from .deployment import switch_to_deploy
from .losses import LabelledCrossEntropyLoss, LabelledDiceLoss
from .placement import align_optimizer, place
from .segmentors import SearchedEncoderDecoder

__all__ = [
    'AutoDeepLabHead',
    'DNASHead',
    'LabelledCrossEntropyLoss',
    'LabelledDiceLoss',
    'MultiBandDataPreProcessor',
    'SearchedEncoderDecoder',
    'TIMMEncoder',
    'UNetHead',
    'align_optimizer',
    'place',
    'switch_to_deploy',
]
