"""Networks as mmseg models."""

from .backbones import DNAS
from .data_preprocessors import MultiBandDataPreProcessor
from .decode_heads import DNASHead
from .segmentors import SearchedEncoderDecoder

__all__ = ['DNAS', 'DNASHead', 'MultiBandDataPreProcessor', 'SearchedEncoderDecoder']
