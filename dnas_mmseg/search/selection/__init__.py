"""Choosing by real trainings."""

from .problem import Candidates, Problem, Request, SelectionError, Trial
from .select import Selection, random_steps, select, selection_steps

__all__ = [
    'Candidates',
    'Problem',
    'Request',
    'Selection',
    'SelectionError',
    'Trial',
    'random_steps',
    'select',
    'selection_steps',
]
