"""Decode heads."""

from .auto_deeplab_head import AutoDeepLabHead
from .dnas_head import DNASHead

__all__ = ['AutoDeepLabHead', 'DNASHead']
