"""Encoders for any decode head."""

from .timm_encoder import TIMMEncoder

__all__ = ['TIMMEncoder']
