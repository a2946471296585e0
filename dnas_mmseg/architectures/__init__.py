"""What a searched network is: nodes, edges, operations; JSON, validation, pruning. No torch."""

from .architecture import LEVELS, Architecture, ArchitectureError
from .auto_deeplab import AutoDeepLabArchitecture
from .densenas import DenseNASArchitecture
from .dnas import DNASArchitecture
from .loading import SPACES, load_architecture, published_architectures

__all__ = [
    'LEVELS',
    'SPACES',
    'Architecture',
    'ArchitectureError',
    'AutoDeepLabArchitecture',
    'DNASArchitecture',
    'DenseNASArchitecture',
    'load_architecture',
    'published_architectures',
]
