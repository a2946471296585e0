"""Types of old checkpoints for torch's allow-list, so that ``weights_only`` can stay on."""

from __future__ import annotations

from importlib import import_module
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

_STATISTICS = ('min', 'max', 'current', 'mean')


def allow_checkpoint_globals() -> None:
    """Let ``torch.load(weights_only=True)`` read Runner checkpoints and the authors' ones.

    A Runner stores its message hub (``HistoryBuffer``, numpy arrays); the authors stored a numpy
    scalar. Only plain data types are allowed here; a file with anything else is still refused.
    """
    try:
        multiarray = import_module('numpy._core.multiarray')
    except ImportError:  # numpy 1
        multiarray = import_module('numpy.core.multiarray')
    plain: list[type] = [
        type(np.dtype(kind)) for kind in ('f2', 'f4', 'f8', 'i4', 'i8', 'u1', 'bool')
    ]
    plain += [HistoryBuffer, np.dtype, np.ndarray]
    # All by name: mmengine may allow the bare classes while it loads, and forbid them afterwards.
    named: list[tuple[Any, str]] = [(kind, f'{kind.__module__}.{kind.__name__}') for kind in plain]
    named += [
        # Pickles name these by the module of the numpy that wrote them.
        (function, f'{module}.multiarray.{function.__name__}')
        for function in (multiarray.scalar, multiarray._reconstruct)
        for module in ('numpy.core', 'numpy._core')
    ]
    torch.serialization.add_safe_globals([*named, (_history_statistic, 'builtins.getattr')])


def _history_statistic(owner: object, name: str) -> object:
    """Stand in for ``getattr``, by which a HistoryBuffer's pickle names its four statistics.

    The real one would let a file reach any attribute of anything on the allow-list.
    """
    if owner is not HistoryBuffer or name not in _STATISTICS:
        raise UnpicklingError(f'getattr({owner!r}, {name!r}) is not allowed in a checkpoint')
    return getattr(owner, name)
