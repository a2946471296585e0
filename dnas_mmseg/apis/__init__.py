"""What the tools do, as functions."""

from .checkpoint_conversion import CheckpointError, Conversion, from_authors, to_authors
from .running import test, train, weight_classes

__all__ = [
    'CheckpointError',
    'Conversion',
    'from_authors',
    'test',
    'to_authors',
    'train',
    'weight_classes',
]
