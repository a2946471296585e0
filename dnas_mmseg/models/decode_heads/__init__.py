"""Decode heads for any backbone."""

from .autodeeplab_head import AutoDeepLabHead
from .dnas_head import DNASHead

__all__ = ['AutoDeepLabHead', 'DNASHead']
