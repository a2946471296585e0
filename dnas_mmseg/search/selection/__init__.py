"""Multi-fidelity selection: successive halving with a surrogate model."""

from .problem import Candidates, Problem, Request, SelectionError, Trial
from .select import STRATEGIES, Selection, run_steps, select, selection_steps

__all__ = [
    'STRATEGIES',
    'Candidates',
    'Problem',
    'Request',
    'Selection',
    'SelectionError',
    'Trial',
    'run_steps',
    'select',
    'selection_steps',
]
