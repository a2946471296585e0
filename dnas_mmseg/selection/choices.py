"""Choices that a config declares: settings whose values a selection compares.

A config of any network declares them next to its settings:

    choices = {
        'model.backbone.extra.stage2.num_channels': [(18, 36), (32, 64)],
        'optim_wrapper.optimizer.lr': {'log_range': (5e-4, 4e-3)},
        'train_pipeline.2.crop_size': [(128, 128), (256, 256)],
    }

The first value of a list, and the config's own value in a range, is that of the default candidate.
``train_pipeline`` stands for the pipeline of the training set. A range is a dict because mmengine
reads a config that imports a function as one of its other kind.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmengine.config import Config

from dnas_mmseg.datasets.configs import leaf_datasets
from dnas_mmseg.engine.config_parts import type_name
from dnas_mmseg.errors import UserError

_STEPS = 9
"""Number of values of a range. Neighbours differ by an eighth of it, about a factor of 1.3 in an
order of magnitude, less than the noise of a training resolves."""

_USED = (
    'model', 'train_dataloader', 'optim_wrapper', 'param_scheduler', 'custom_hooks',
    'train_pipeline',
)  # fmt: skip
"""Settings that change a training of a selection; data and lengths are the selection's."""

_SET_BY_SELECTION = (
    'ann_file', 'data_root', 'num_workers', 'persistent_workers', 'prefetch_factor', 'timeout',
    'multiprocessing_context',
)  # fmt: skip
"""Settings of a loader that a selection sets itself, or that do not change a training."""

_REPLACED_HOOKS = ('EMAHook', 'EarlyStoppingHook', 'ResumableEarlyStoppingHook')
"""Hooks that a selection replaces or removes."""

Assignment = tuple[int, ...]
"""Index of the value of each choice."""


@dataclass(frozen=True)
class Choice:
    """A setting with several values.

    Attributes:
        key: Dotted key of the config.
        values: Values, the default first.
    """

    key: str
    values: tuple[Any, ...]

    def encode(self, index: int) -> list[float]:
        """Return the features of a value: logarithms of positive numbers, other numbers as they
        are, and an indicator of each value otherwise.
        """
        rows = [_numbers(value) for value in self.values]
        if any(row is None for row in rows) or len({len(row or ()) for row in rows}) > 1:
            return [float(i == index) for i in range(len(self.values))]
        table = np.array(rows, float)
        return (np.log(table) if (table > 0).all() else table)[index].tolist()


def _numbers(value: Any) -> list[float] | None:
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return None
    if isinstance(value, (int, float)):
        return [float(value)]
    if isinstance(value, (list, tuple)):
        parts = [_numbers(item) for item in value]
        return None if None in parts else [x for part in parts for x in part or ()]
    return None


class Choices:
    """The choices of a config.

    Args:
        config: Config with an optional setting ``choices``.
        name: Name of the config in error messages.

    Raises:
        UserError: A key does not exist or changes nothing in a selection, or a choice has fewer
            than two different values.
    """

    def __init__(self, config: Config, name: str) -> None:
        declared = config.get('choices') or {}
        if not isinstance(declared, Mapping):
            raise UserError(f'{name}: choices must be a dict of keys and values')
        self._name = name
        self.items = tuple(self._parse(config, key, values) for key, values in declared.items())

    def _parse(self, config: Config, key: str, values: Any) -> Choice:
        prefix = f"{self._name}: choices['{key}']"
        if key.split('.')[0] not in _USED:
            raise UserError(
                f'{prefix} changes nothing in a selection: expected a key that begins with one of '
                f'{", ".join(_USED)}'
            )
        default = _get(config, key, prefix)
        parts = key.split('.')
        is_replaced = False
        if parts[0] == 'custom_hooks' and len(parts) > 1:
            is_replaced = type_name(config.custom_hooks[int(parts[1])]) in _REPLACED_HOOKS
        if is_replaced or parts[-1] in _SET_BY_SELECTION:
            raise UserError(f'{prefix} changes nothing in a selection, which sets it itself')
        if isinstance(values, Mapping):
            values = _log_range(values, default, prefix)
        if not isinstance(values, (list, tuple)) or len(values) < 2:
            raise UserError(
                f"{prefix}: expected a list of two or more values, or {{'log_range': (low, high)}}"
            )
        if len({json.dumps(value, default=str) for value in values}) < len(values):
            raise UserError(f'{prefix}: a value occurs twice')
        return Choice(key, tuple(values))

    @property
    def count(self) -> int:
        """Number of combinations."""
        return math.prod(len(choice.values) for choice in self.items)

    @property
    def default(self) -> Assignment:
        """The first value of every choice."""
        return (0,) * len(self.items)

    def random(self, rng: np.random.Generator) -> Assignment:
        """Sample a combination uniformly."""
        return tuple(int(rng.integers(len(choice.values))) for choice in self.items)

    def neighbours(self, assignment: Assignment) -> Iterator[Assignment]:
        """Yield the combinations that differ in one choice."""
        for place, choice in enumerate(self.items):
            for index in range(len(choice.values)):
                if index != assignment[place]:
                    yield (*assignment[:place], index, *assignment[place + 1 :])

    def encode(self, assignment: Assignment) -> list[float]:
        """Return the features of a combination."""
        pairs = zip(self.items, assignment, strict=True)
        return [feature for choice, index in pairs for feature in choice.encode(index)]

    def describe(self, assignment: Assignment) -> str:
        """Return the values of a combination as text."""
        pairs = zip(self.items, assignment, strict=True)
        return ', '.join(f'{c.key.split(".")[-1]} {c.values[i]}' for c, i in pairs)

    def apply(self, config: Config, assignment: Assignment) -> None:
        """Set the values of a combination in a config."""
        for choice, index in zip(self.items, assignment, strict=True):
            value = copy.deepcopy(choice.values[index])
            if choice.key.startswith('train_pipeline.'):
                rest = choice.key.removeprefix('train_pipeline.')
                for leaf in leaf_datasets(config.train_dataloader):
                    _set(leaf['pipeline'], rest, value)
            else:
                _set(config, choice.key, value)


def _log_range(values: Mapping[str, Any], default: Any, prefix: str) -> list[float]:
    bounds = values.get('log_range')
    if set(values) != {'log_range'} or not isinstance(bounds, (list, tuple)) or len(bounds) != 2:
        raise UserError(f"{prefix}: expected {{'log_range': (low, high)}}")
    low, high = map(float, bounds)
    if not 0 < low < high < math.inf:
        raise UserError(f'{prefix}: log_range ({low:g}, {high:g}): expected 0 < low < high')
    steps = [float(f'{value:.3g}') for value in np.geomspace(low, high, _STEPS)]
    own = [float(default)] if isinstance(default, (int, float)) else []
    return list(dict.fromkeys([*own, *steps]))


def _get(config: Config, key: str, prefix: str) -> Any:
    """Return the value of a dotted key.

    Raises:
        UserError: The key does not exist; the message names those that do.
    """
    value: Any = config.to_dict()
    if key.startswith('train_pipeline.'):
        value = {'train_pipeline': next(leaf_datasets(config.train_dataloader))['pipeline']}
    done: list[str] = []
    for part in key.split('.'):
        if isinstance(value, (list, tuple)):
            available: Sequence[str] = [str(i) for i in range(len(value))]
        else:
            available = list(value) if isinstance(value, Mapping) else []
        if part not in available:
            place = '.'.join(done) or 'the config'
            raise UserError(
                f"{prefix}: {place} has no '{part}'; available: {', '.join(available) or 'nothing'}"
            )
        value = value[int(part)] if isinstance(value, (list, tuple)) else value[part]
        done.append(part)
    return value


def _set(target: Any, key: str, value: Any) -> None:
    *parents, last = key.split('.')
    for part in parents:
        target = target[int(part)] if isinstance(target, list) else target[part]
    target[int(last) if isinstance(target, list) else last] = value
