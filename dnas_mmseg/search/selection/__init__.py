"""Choosing by real trainings."""

from .problem import Problem, Request, SelectionError, Trial
from .select import Selection, select, selection_steps

__all__ = [
    'Problem',
    'Request',
    'Selection',
    'SelectionError',
    'Trial',
    'select',
    'selection_steps',
]
