"""Parts for any network of mmseg: losses, preprocessing, segmentors, the deployed form."""

from .data_preprocessors import MultiBandDataPreProcessor
from .deployment import switch_to_deploy
from .losses import LabelledCrossEntropyLoss, LabelledDiceLoss
from .segmentors import SearchedEncoderDecoder

__all__ = [
    'LabelledCrossEntropyLoss',
    'LabelledDiceLoss',
    'MultiBandDataPreProcessor',
    'SearchedEncoderDecoder',
    'switch_to_deploy',
]
