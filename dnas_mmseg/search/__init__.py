"""From architecture parameters to an architecture. No mmseg."""

from .decisions import Decision
from .history import Epoch, SearchHistory
from .viterbi import best_path

__all__ = ['Decision', 'Epoch', 'SearchHistory', 'best_path']
