"""Search spaces, one folder each. Importing the package registers them and their networks."""

from .autodeeplab.drop_path_hook import ScheduledDropPathHook
from .autodeeplab.network import AutoDeepLab
from .autodeeplab.search_head import AutoDeepLabSearchHead
from .autodeeplab.space import AutoDeepLabSpace
from .autodeeplab.supernet import AutoDeepLabSupernet
from .densenas.network import DenseNAS
from .densenas.pretrained import EfficientNetLitePretrained
from .densenas.space import DenseNASSpace
from .densenas.supernet import DenseNASSupernet
from .dnas.network import DNAS
from .dnas.space import DNASSpace
from .dnas.supernets import DNASCellSupernet, DNASConnectionSupernet, DNASPathSupernet

__all__ = [
    'DNAS',
    'AutoDeepLab',
    'AutoDeepLabSearchHead',
    'AutoDeepLabSpace',
    'AutoDeepLabSupernet',
    'DNASCellSupernet',
    'DNASConnectionSupernet',
    'DNASPathSupernet',
    'DNASSpace',
    'DenseNAS',
    'DenseNASSpace',
    'DenseNASSupernet',
    'EfficientNetLitePretrained',
    'ScheduledDropPathHook',
]
