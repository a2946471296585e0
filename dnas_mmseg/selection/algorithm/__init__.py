"""Multi-fidelity selection: successive halving with surrogate models of families of candidates."""

from .estimates import seed_effects
from .problem import Candidates, Problem, Request, SelectionError, Trial
from .select import Selection, run_steps, select, selection_steps

__all__ = [
    'Candidates',
    'Problem',
    'Request',
    'Selection',
    'SelectionError',
    'Trial',
    'run_steps',
    'seed_effects',
    'select',
    'selection_steps',
]
