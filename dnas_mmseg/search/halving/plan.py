"""Settings of a selection."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from dnas_mmseg.errors import UserError
from dnas_mmseg.search.plan import SearchPlan, absolute_paths, relative_paths
from dnas_mmseg.search.selection import STRATEGIES
from dnas_mmseg.work_dir import PLAN_FILE

GRADIENT = 'gradient'
"""Name that stands for the result of a gradient search in ``--candidates``."""

_STAGE_SETTINGS = (
    'levels',
    'architecture',
    'epochs',
    'arch_start',
    'crop',
    'batch',
    'patience',
    'recompute',
    'cost_weight',
)
"""Settings of the stages of a gradient search."""

OF_THE_MACHINE: dict[str, Any] = {
    'config': None,
    'data_root': None,
    'options': {},
    'search_options': {},
    'halves': None,
    'latency_table': None,
    'architecture': None,
}
"""Neutral values of the settings that name files or code of a machine."""

MIN_BUDGET = 4.0
"""Smallest budget of a halving: half of it for the first rung leaves two full trainings, the least
that a promotion can compare."""


@dataclass(frozen=True)
class SelectionPlan:
    """Settings of a selection.

    Attributes:
        network: Space, data and config of the networks, their cost limit (``targets``, at most
            one), and settings of a gradient search if one proposes a candidate. ``halves`` are the
            lists to train on and to score on.
        budget: Cost of all trainings of the selection, in full trainings of a typical candidate.
            The final training of the winner is not included.
        rungs: Shares of the full schedule, ascending; the last is 1.
        candidates: Names or paths of architectures that the first rung always contains;
            ``'gradient'`` stands for the result of a gradient search.
        baselines: Paths of configs of other networks, which are trained in the last rung.
        threads: Number of CPU threads of a training. It is part of the plan because it affects
            rounding, and with it the scores.
        strategy: ``'halving'``, or ``'random'`` for full trainings of random candidates (the
            baseline).

    Raises:
        UserError: A value is invalid.

    Example:
        >>> plan = SelectionPlan(network=SearchPlan(layers=8, targets=(5e9,)), budget=12)
        >>> plan.limit
        5000000000.0
    """

    network: SearchPlan
    budget: float
    rungs: tuple[float, ...] = (1 / 9, 1.0)
    candidates: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ()
    threads: int = 1
    strategy: str = 'halving'

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise UserError(f"strategy '{self.strategy}': expected one of {', '.join(STRATEGIES)}")
        if self.strategy == 'random':
            object.__setattr__(self, 'rungs', (1.0,))
        least = 0 if self.strategy == 'random' else MIN_BUDGET
        if not self.budget >= max(1, least + len(self.baselines)):
            raise UserError(
                f'budget = {self.budget:g}: expected at least {max(1, least):g} full trainings, '
                'plus one for each baseline; 12 or more are recommended'
            )
        if (
            not self.rungs
            or self.rungs[-1] != 1
            or any(not 0 < a < b for a, b in zip(self.rungs, self.rungs[1:], strict=False))
        ):
            raise UserError(
                f'rungs {", ".join(f"{rung:g}" for rung in self.rungs)}: expected ascending shares '
                'of the full schedule that end with 1, for example 1/9 1'
            )
        names = [Path(path).stem for path in self.baselines]
        if len(set(names)) < len(names):
            raise UserError(
                f'baselines {", ".join(names)}: the file names of their configs must be distinct'
            )
        if self.threads < 1:
            raise UserError(f'threads = {self.threads}: expected at least 1')
        if len(self.network.targets) > 1:
            raise UserError(
                f'targets {", ".join(self.network.target_names)}: a selection supports one limit; '
                'run one selection per target, each in its own work dir'
            )
        if GRADIENT not in self.candidates:
            default = SearchPlan(space=self.network.space)
            unused = [
                name
                for name in _STAGE_SETTINGS
                if getattr(self.network, name) != getattr(default, name)
            ]
            if unused:
                hint = ''
                if self.network.epochs is not None:
                    hint = (
                        '; the length of a full training is set by --cfg-options '
                        f'train_cfg.max_epochs={self.network.epochs}'
                    )
                raise UserError(
                    f'{", ".join(unused)}: settings of a gradient search, which requires '
                    f'--candidates gradient{hint}'
                )

    @property
    def limit(self) -> float | None:
        """Maximum cost of a network, in the unit of its metric; None without a limit."""
        return self.network.targets[0] if self.network.targets else None

    def gradient(self) -> SearchPlan:
        """Return the plan of the gradient search that proposes a candidate."""
        return replace(self.network, halves=None)

    def to_json(self, work_dir: str | os.PathLike) -> str:
        """Return the text of ``search.json``, with paths relative to the work dir."""
        document = relative_paths(asdict(self), work_dir)
        document['network'] = relative_paths(document['network'], work_dir)
        return json.dumps(document, indent=2) + '\n'

    def differences(self, other: SelectionPlan) -> list[str]:
        """Return the differences from another plan, one line each.

        Folders are not compared, since they differ between machines. Config and data are compared
        by checksums instead.
        """
        mine, theirs = _flat(self), _flat(other)
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
            if document.get('strategy') not in STRATEGIES:
                raise UserError(f'{source} contains a gradient search, not a selection')
            network = absolute_paths(_as_tuples(document.pop('network')), work_dir)
            settings = absolute_paths(_as_tuples(document), work_dir)
            return cls(network=SearchPlan(**network), **settings)
        except (AttributeError, KeyError, TypeError, json.JSONDecodeError) as error:
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
        document = json.loads((Path(work_dir) / PLAN_FILE).read_text(encoding='utf-8'))
        return document.get('strategy') in STRATEGIES
    except (OSError, ValueError, AttributeError):
        return False


def merge_options(before: SelectionPlan | None, options: Mapping[str, Any]) -> SelectionPlan:
    """Return a plan with a user's options; other settings are those of an earlier plan.

    Args:
        before: Plan of the selection to resume; None for defaults.
        options: Values of :class:`SelectionPlan` and of its ``network``, by name; ``targets`` may
            be strings with units.

    Raises:
        UserError: A value is invalid.
    """
    own = {field.name for field in fields(SelectionPlan)} - {'network'}
    settings = {key: value for key, value in options.items() if key in own}
    for key in ('candidates', 'baselines'):
        if key in settings:
            settings[key] = tuple(
                os.path.abspath(source) if os.path.exists(source) else source
                for source in settings[key]
            )
    rest = {key: value for key, value in options.items() if key not in own}
    known = asdict(before) if before is not None else {}
    network = SearchPlan.from_options({**known.pop('network', {}), **rest}, '', resume=False)
    return SelectionPlan(**{**known, **settings, 'network': network})


def _as_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
    }


def _flat(plan: SelectionPlan) -> dict[str, Any]:
    values = asdict(plan)
    return {**values.pop('network'), **values}


def _portable(value: Any) -> Any:
    """Return a value with paths reduced to file names."""
    if isinstance(value, str):
        return os.path.basename(value)
    return tuple(map(_portable, value)) if isinstance(value, (list, tuple)) else value
