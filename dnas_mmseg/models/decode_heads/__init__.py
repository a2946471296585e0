"""Decode heads."""

from .auto_deeplab_head import AutoDeepLabHead
from .auto_deeplab_search_head import AutoDeepLabSearchHead
from .dnas_head import DNASHead

__all__ = ['AutoDeepLabHead', 'AutoDeepLabSearchHead', 'DNASHead']
