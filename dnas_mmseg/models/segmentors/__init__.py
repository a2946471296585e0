"""Segmentors."""

from .searched_encoder_decoder import SearchedEncoderDecoder

__all__ = ['SearchedEncoderDecoder']
