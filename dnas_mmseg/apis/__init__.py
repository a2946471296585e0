"""What the tools do, as functions."""

from .checkpoint_conversion import (
    CheckpointError,
    Conversion,
    from_authors,
    supernet_from_authors,
    to_authors,
)
from .running import test, train, weight_classes
from .search_pipeline import search
from .search_plan import SearchPlan

__all__ = [
    'CheckpointError',
    'Conversion',
    'SearchPlan',
    'from_authors',
    'search',
    'supernet_from_authors',
    'test',
    'to_authors',
    'train',
    'weight_classes',
]
