"""Settings of a selection."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from dnas_mmseg.cost.table import METRICS, parse_amounts
from dnas_mmseg.errors import UserError, check_seed
from dnas_mmseg.runs.plan_file import absolute_paths, relative_paths
from dnas_mmseg.work_dir import PLAN_FILE

PREFERENCES = ('accuracy', 'cost')
"""Which network is trained as the result: the most accurate, or the cheapest that is not worse by
more than chance."""

_PATHS = ('config', 'data_root', 'latency_table', 'lists', 'candidates', 'families')
"""Settings that are or may be paths."""

OF_THE_MACHINE: dict[str, Any] = {
    'config': '',
    'data_root': None,
    'options': {},
    'lists': None,
    'latency_table': None,
    'families': (),
    'candidates': (),
}
"""Neutral values of the settings that name files or code of a machine."""


@dataclass(frozen=True)
class SelectionPlan:
    """Settings of a selection.

    Attributes:
        config: Path of a config of any network on the user's data.
        hours: Time of the selection and of the training of its winner.
        data_root: Data root, instead of that of the config.
        options: Overrides of the config (``--cfg-options``).
        families: Names of families or paths of configs; empty uses the config and the portfolio.
        candidates: Names or paths of architectures to try first.
        lists: List files to train on and to score on, instead of those of the config.
        layers: Number of layers of the networks of search spaces that support it.
        limit: Maximum cost of a network, in the unit of ``cost``; None sets no limit.
        cost: Metric of costs, ``'macs'``, ``'params'`` or ``'latency'``.
        cost_size: Side of the input images for costs, in pixels.
        latency_table: Path of the table of ``dnas measure-latency``.
        prefer: One of :data:`PREFERENCES`.
        ensemble: Largest number of finalists that are combined to an ensemble; 0 builds none.
        seed: Random seed, also of the split.
        threads: Number of CPU threads of a training. It is part of the plan because it affects
            rounding, and with it the scores.

    Raises:
        UserError: A value is invalid.

    Example:
        >>> SelectionPlan('mine.py', hours=8, limit=5e9).cost
        'macs'
    """

    config: str
    hours: float
    data_root: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    families: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    lists: tuple[str, str] | None = None
    layers: int | None = None
    limit: float | None = None
    cost: str = 'macs'
    cost_size: int = 512
    latency_table: str | None = None
    prefer: str = 'accuracy'
    ensemble: int = 0
    seed: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.hours < math.inf:
            raise UserError(f'hours = {self.hours}: expected a positive number')
        if self.cost not in METRICS:
            raise UserError(f"unknown cost '{self.cost}': expected one of {', '.join(METRICS)}")
        if self.prefer not in PREFERENCES:
            raise UserError(f"prefer '{self.prefer}': expected one of {', '.join(PREFERENCES)}")
        if self.ensemble < 0 or self.ensemble == 1:
            raise UserError(f'ensemble = {self.ensemble}: expected 2 or more, or 0 for none')
        if self.limit is not None and not self.limit > 0:
            raise UserError(f'limit = {self.limit}: expected a positive number')
        is_complete = bool(self.config)  # one that is joined lacks what is of the machine
        if is_complete and self.cost == 'latency' and self.latency_table is None:
            raise UserError('--cost latency requires a --latency-table (dnas measure-latency)')
        for name in ('threads', 'cost_size', 'layers'):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f'{name} = {value}: expected at least 1')
        check_seed(self.seed)
        # Equal to those of a saved plan, where JSON has turned tuples into lists.
        object.__setattr__(self, 'options', json.loads(json.dumps(self.options)))

    def to_json(self, work_dir: str | os.PathLike) -> str:
        """Return the text of the plan file, with paths relative to the work dir."""
        return json.dumps(relative_paths(asdict(self), work_dir, _PATHS), indent=2) + '\n'

    def differences(self, other: SelectionPlan) -> list[str]:
        """Return the differences from another plan, one line each.

        Folders are not compared, since they differ between machines. Config and data are compared
        by checksums instead.
        """
        mine, theirs = asdict(self), asdict(other)
        return [
            f'{key}: {theirs[key]!r}, now {mine[key]!r}'
            for key in mine
            if key not in ('config', 'data_root') and _portable(mine[key]) != _portable(theirs[key])
        ]

    @classmethod
    def parse(cls, text: str, source: str, work_dir: str | os.PathLike) -> SelectionPlan:
        """Return the plan of a text of :meth:`to_json`.

        Args:
            text: The text.
            source: Name of the text in messages.
            work_dir: Base of relative paths.

        Raises:
            UserError: The text is not the plan of a selection.
        """
        try:
            document = json.loads(text)
            if 'hours' not in document:
                kind = 'a selection of an older version' if 'strategy' in document else 'a search'
                raise UserError(f'{source} contains {kind}, not a selection of this version')
            values: dict[str, Any] = {
                key: tuple(value) if isinstance(value, list) else value
                for key, value in document.items()
            }
            return cls(**absolute_paths(values, work_dir, _PATHS))
        except (AttributeError, TypeError, json.JSONDecodeError) as error:
            raise UserError(f'{source} is damaged ({error})') from None

    @classmethod
    def load(cls, work_dir: str | os.PathLike) -> SelectionPlan:
        """Return the plan of the selection in a work dir.

        Raises:
            UserError: The work dir contains no selection, or its file is damaged.
        """
        path = Path(work_dir) / PLAN_FILE
        try:
            return cls.parse(path.read_text(encoding='utf-8'), str(path), work_dir)
        except FileNotFoundError:
            raise UserError(f'{work_dir} contains no selection to resume') from None


def is_selection(work_dir: str | os.PathLike) -> bool:
    """Return whether a work dir contains a selection."""
    try:
        return 'hours' in json.loads((Path(work_dir) / PLAN_FILE).read_text(encoding='utf-8'))
    except (OSError, ValueError, TypeError):
        return False


def merge_options(before: SelectionPlan | None, options: Mapping[str, Any]) -> SelectionPlan:
    """Return a plan with a user's options; other settings are those of an earlier plan.

    Args:
        before: Plan of the selection to resume; None for defaults.
        options: Values of :class:`SelectionPlan` by name; ``limit`` may be a string with a unit.

    Raises:
        UserError: A value is invalid or missing.
    """
    settings = {} if before is None else {f.name: getattr(before, f.name) for f in fields(before)}
    settings.update(options)
    for key in ('config', 'data_root', 'latency_table'):
        if os.path.exists(settings.get(key) or ''):
            settings[key] = os.path.abspath(settings[key])
    for key in ('families', 'candidates', 'lists'):
        if settings.get(key):
            settings[key] = tuple(
                os.path.abspath(value) if os.path.exists(value) else value
                for value in settings[key]
            )
    if isinstance(settings.get('limit'), str):
        (settings['limit'],), metric = parse_amounts([settings['limit']], settings.get('cost'))
        settings.setdefault('cost', metric)
    for name in ('config', 'hours'):
        if name not in settings:
            raise UserError(f'--{name} is required')
    return SelectionPlan(**settings)


def _portable(value: Any) -> Any:
    """Return a value with paths reduced to file names."""
    if isinstance(value, str):
        return os.path.basename(value)
    return tuple(map(_portable, value)) if isinstance(value, (list, tuple)) else value
