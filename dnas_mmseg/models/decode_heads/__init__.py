"""Decode heads for any backbone."""

from .autodeeplab_head import AutoDeepLabHead
from .dnas_head import DNASHead
from .unet_head import UNetHead

__all__ = ['AutoDeepLabHead', 'DNASHead', 'UNetHead']
