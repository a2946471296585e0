"""Networks as mmseg models."""

from .backbones import (
    DNAS,
    AutoDeepLab,
    AutoDeepLabSupernet,
    DenseNAS,
    DenseNASSupernet,
    DNASCellSupernet,
    DNASConnectionSupernet,
    DNASPathSupernet,
)
from .data_preprocessors import MultiBandDataPreProcessor
from .decode_heads import AutoDeepLabHead, AutoDeepLabSearchHead, DNASHead
from .deployment import switch_to_deploy
from .losses import LabelledCrossEntropyLoss, LabelledDiceLoss
from .segmentors import SearchedEncoderDecoder
from .supernet import Supernet

__all__ = [
    'DNAS',
    'AutoDeepLab',
    'AutoDeepLabHead',
    'AutoDeepLabSearchHead',
    'AutoDeepLabSupernet',
    'DNASCellSupernet',
    'DNASConnectionSupernet',
    'DNASHead',
    'DNASPathSupernet',
    'DenseNAS',
    'DenseNASSupernet',
    'LabelledCrossEntropyLoss',
    'LabelledDiceLoss',
    'MultiBandDataPreProcessor',
    'SearchedEncoderDecoder',
    'Supernet',
    'switch_to_deploy',
]
