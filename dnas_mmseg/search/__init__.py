"""From architecture parameters to an architecture, and what it costs. No mmseg."""

from .cost import CostError, CostTable, meet_target
from .decisions import Decision
from .history import Epoch, SearchHistory
from .viterbi import best_path

__all__ = [
    'CostError',
    'CostTable',
    'Decision',
    'Epoch',
    'SearchHistory',
    'best_path',
    'meet_target',
]
