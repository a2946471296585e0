"""Segmentors."""

from .ensemble_segmentor import EnsembleSegmentor
from .searched_encoder_decoder import SearchedEncoderDecoder

__all__ = ['EnsembleSegmentor', 'SearchedEncoderDecoder']
