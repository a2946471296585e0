"""Former location of :mod:`dnas_mmseg.selection.algorithm`; imports from here keep working."""

from dnas_mmseg.selection.algorithm import (
    Problem,
    Selection,
    SelectionError,
    Trial,
    run_steps,
    select,
    selection_steps,
)

__all__ = [
    'Problem',
    'Selection',
    'SelectionError',
    'Trial',
    'run_steps',
    'select',
    'selection_steps',
]
