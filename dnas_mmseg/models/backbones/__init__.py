"""One file a network, one file its supernets."""

from .dnas import DNAS

__all__ = ['DNAS']
