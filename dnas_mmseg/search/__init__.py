"""From architecture parameters to an architecture. No mmseg."""

from .decisions import Decision
from .viterbi import best_path

__all__ = ['Decision', 'best_path']
