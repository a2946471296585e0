"""Decode heads."""

from .dnas_head import DNASHead

__all__ = ['DNASHead']
