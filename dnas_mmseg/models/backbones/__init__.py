"""One file a network, one file its supernets."""

from .auto_deeplab import AutoDeepLab
from .densenas import DenseNAS
from .dnas import DNAS
from .dnas_supernets import DNASCellSupernet, DNASConnectionSupernet, DNASPathSupernet

__all__ = [
    'DNAS',
    'AutoDeepLab',
    'DNASCellSupernet',
    'DNASConnectionSupernet',
    'DNASPathSupernet',
    'DenseNAS',
]
