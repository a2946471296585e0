"""Settings of a selection, as the user gives them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from dnas_mmseg.errors import UserError
from dnas_mmseg.search.plan import PLAN_FILE, SearchPlan, absolute_paths, relative_paths
from dnas_mmseg.search.selection import STRATEGIES

GRADIENT = 'gradient'
"""Name among the candidates that stands for what the stages of a gradient search find."""

_OF_STAGES = (
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
"""Settings of the networks that are files or code of a machine, as a plan without them has them."""

MIN_BUDGET = 4.0
"""Budget below which nothing can be promoted: a first rung, some full trainings and repeats."""


@dataclass(frozen=True)
class SelectionPlan:
    """Settings of a selection.

    Attributes:
        network: Space, data and config of the networks, their limit (``targets``, at most one), and
            what the stages of a gradient search need, where it proposes candidates. ``halves`` are
            the lists to train on and to score on.
        strategy: ``'halving'``, or ``'random'``: full trainings of candidates that are drawn, which
            any selection must beat.
        budget: Cost of all trainings of the selection, in full trainings of a typical candidate;
            the training of the winner on all tiles is not part of it.
        rungs: Shares of the full schedule on which candidates are trained, ascending; the last is
            1.
        candidates: Names or paths of architectures that take part for certain; ``'gradient'``
            stands for the network that a gradient search finds.
        baselines: Paths of configs of other networks, which take part in the last rung.
        threads: Number of threads of a training. It is a setting of the selection since other
            numbers lead to other roundings.

    Raises:
        UserError: A value is not possible.
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
            raise UserError(f"strategy '{self.strategy}': one of {', '.join(STRATEGIES)} is needed")
        if self.strategy == 'random':
            object.__setattr__(self, 'rungs', (1.0,))
        least = 0 if self.strategy == 'random' else MIN_BUDGET
        if not self.budget >= max(1, least + len(self.baselines)):
            raise UserError(
                f'budget = {self.budget:g}: at least {max(1, least):g} full trainings, and one '
                'more for each baseline, are needed; 12 or more begin to pay'
            )
        if (
            not self.rungs
            or self.rungs[-1] != 1
            or any(not 0 < a < b for a, b in zip(self.rungs, self.rungs[1:], strict=False))
        ):
            raise UserError(
                f'rungs {", ".join(f"{rung:g}" for rung in self.rungs)}: growing shares of the '
                'full schedule that end with 1 are needed, 1/9 1 for instance'
            )
        names = [Path(path).stem for path in self.baselines]
        if len(set(names)) < len(names):
            raise UserError(
                f'baselines {", ".join(names)}: they go by the names of their configs, each once'
            )
        if self.threads < 1:
            raise UserError(f'threads = {self.threads}: at least 1 is needed')
        if len(self.network.targets) > 1:
            raise UserError(
                f'targets {", ".join(self.network.target_names)}: a selection has one limit; '
                'choose for each in a work dir of its own'
            )
        if GRADIENT not in self.candidates:
            default = SearchPlan(space=self.network.space)
            given = [
                name for name in _OF_STAGES if getattr(self.network, name) != getattr(default, name)
            ]
            if given:
                length = ''
                if self.network.epochs is not None:
                    length = (
                        '. The length of a full training is that of the config: --cfg-options '
                        f'train_cfg.max_epochs={self.network.epochs}'
                    )
                raise UserError(
                    f'{", ".join(given)}: of the stages of a gradient search, which this selection '
                    f'does not run (--candidates gradient does){length}'
                )

    @property
    def limit(self) -> float | None:
        """Largest cost of a network, in the unit of its metric; None without one."""
        return self.network.targets[0] if self.network.targets else None

    def gradient(self) -> SearchPlan:
        """Return the plan of the gradient search that proposes a candidate."""
        return replace(self.network, halves=None)

    def to_json(self, work_dir: str | os.PathLike) -> str:
        """Return the plan as the text of ``search.json`` in a work dir."""
        document = relative_paths(asdict(self), work_dir)
        document['network'] = relative_paths(document['network'], work_dir)
        return json.dumps(document, indent=2) + '\n'

    def differences(self, other: SelectionPlan) -> list[str]:
        """Return the differences from another plan, a line each.

        Where the config and the data are may differ from machine to machine: both are compared by
        their content.
        """
        mine, theirs = _flat(self), _flat(other)
        return [
            f'{key}: {theirs[key]!r}, now {mine[key]!r}'
            for key in mine
            if key not in ('config', 'data_root') and _portable(mine[key]) != _portable(theirs[key])
        ]

    @classmethod
    def parse(cls, text: str, source: str, work_dir: str | os.PathLike) -> SelectionPlan:
        """Return the plan of a text that :meth:`to_json` made.

        Args:
            text: The text.
            source: Name of the text in messages.
            work_dir: Folder that its relative paths start from.

        Raises:
            UserError: The text is no plan of a selection.
        """
        try:
            document = json.loads(text)
            if document.get('strategy') not in STRATEGIES:
                raise UserError(f'{source} is of a search by gradients, not of a selection')
            network = absolute_paths(_as_tuples(document.pop('network')), work_dir)
            settings = absolute_paths(_as_tuples(document), work_dir)
            return cls(network=SearchPlan(**network), **settings)
        except (AttributeError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise UserError(f'{source} is damaged ({error})') from None

    @classmethod
    def load(cls, work_dir: str | os.PathLike) -> SelectionPlan:
        """Return the plan of the selection in a work dir.

        Raises:
            UserError: There is none, or its file is damaged.
        """
        path = Path(work_dir) / PLAN_FILE
        try:
            return cls.parse(path.read_text(encoding='utf-8'), str(path), work_dir)
        except FileNotFoundError:
            raise UserError(f'{work_dir} holds no selection: nothing to resume') from None


def is_selection(work_dir: str | os.PathLike) -> bool:
    """Return whether a work dir holds a selection, not a gradient search, nor nothing."""
    try:
        document = json.loads((Path(work_dir) / PLAN_FILE).read_text(encoding='utf-8'))
        return document.get('strategy') in STRATEGIES
    except (OSError, ValueError, AttributeError):
        return False


def merged(before: SelectionPlan | None, options: Mapping[str, Any]) -> SelectionPlan:
    """Return a plan of a user's options; what they leave out is that of an earlier plan.

    Args:
        before: Plan of the selection that goes on; None for a new one.
        options: Settings by name, those of the networks and those of the selection together;
            ``targets`` may be texts with units.

    Raises:
        UserError: A value is not possible.
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
    """Return a value in which a path is only the file's name: another machine has other folders."""
    if isinstance(value, str):
        return os.path.basename(value)
    return tuple(map(_portable, value)) if isinstance(value, (list, tuple)) else value
