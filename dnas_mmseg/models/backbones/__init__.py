"""One file a network, one file its supernets."""

from .auto_deeplab import AutoDeepLab
from .auto_deeplab_supernet import AutoDeepLabSupernet
from .densenas import DenseNAS
from .densenas_supernet import DenseNASSupernet
from .dnas import DNAS
from .dnas_supernets import DNASCellSupernet, DNASConnectionSupernet, DNASPathSupernet

__all__ = [
    'DNAS',
    'AutoDeepLab',
    'AutoDeepLabSupernet',
    'DNASCellSupernet',
    'DNASConnectionSupernet',
    'DNASPathSupernet',
    'DenseNAS',
    'DenseNASSupernet',
]
