"""One file a network, one file its supernets."""

from .dnas import DNAS
from .dnas_supernets import DNASCellSupernet, DNASConnectionSupernet, DNASPathSupernet

__all__ = ['DNAS', 'DNASCellSupernet', 'DNASConnectionSupernet', 'DNASPathSupernet']
