"""Data preprocessors."""

from .multi_band import MultiBandDataPreProcessor

__all__ = ['MultiBandDataPreProcessor']
