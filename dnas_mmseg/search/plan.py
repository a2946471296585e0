"""Settings of a search."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from dnas_mmseg.cost.table import METRICS, format_cost, parse_amounts
from dnas_mmseg.engine.config_checks import warn_unknown_keys
from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.errors import UserError, check_seed
from dnas_mmseg.runs.plan_file import absolute_paths, relative_paths
from dnas_mmseg.shipped import CONFIGS
from dnas_mmseg.spaces.registry import SPACES
from dnas_mmseg.work_dir import PLAN_FILE

_PATHS = ('config', 'data_root', 'architecture', 'latency_table', 'halves')
"""Settings that are or may be paths."""


@dataclass(frozen=True)
class SearchPlan:
    """Settings of a search; None uses the values of the configs.

    Attributes:
        space: Name of the search space.
        config: Config of a network of the space on the user's data, or of the data only. The search
            uses its data, head and classes; retraining also uses its training recipe. ``supernet =
            dict(...)`` in it sets arguments of the supernets.
        data_root: Data root, instead of that of the config.
        layers: Number of layers, in spaces that support it.
        levels: Levels of the stages to run, in order. Defaults to all.
        architecture: Name or path of the architecture that the first of these stages starts from;
            only if it is not the first stage of the space.
        epochs: Number of epochs of each stage.
        arch_start: First epoch with architecture steps, counted from 0.
        base_channels: Width of the network.
        crop: Side of the square crops in the search, in pixels.
        batch: Batch size per process in the search.
        patience: Number of epochs without a change of the decoded architecture after which a stage
            stops.
        halves: List files of half A and half B, instead of a random split of the training list.
        recompute: Whether to recompute activations in the backward pass (less memory, more time).
        targets: Cost targets in multiply-adds, parameters or seconds; one search finds a network
            for each.
        cost: Metric of the targets, ``'macs'``, ``'params'`` or ``'latency'``.
        cost_size: Side of the input images for the cost, in pixels.
        cost_weight: Weight of the cost term (:class:`dnas_mmseg.search.target.CostTarget`).
        latency_table: Path of the table of ``dnas measure-latency``.
        seed: Random seed, also of the split into halves.
        options: Overrides of the config (``--cfg-options``).
        search_options: Overrides of the config of each stage.

    Raises:
        UserError: A value is invalid.

    Example:
        >>> plan = SearchPlan('dnas', layers=8, targets=(1.5e9, 3e8))
        >>> plan.levels
        ('path', 'connection', 'cell')
        >>> plan.target_names
        ('300M', '1.5G')
    """

    space: str = 'dnas'
    config: str | None = None
    data_root: str | None = None
    layers: int | None = None
    levels: tuple[str, ...] = ()
    architecture: str | None = None
    epochs: int | None = None
    arch_start: int | None = None
    base_channels: int | None = None
    crop: int | None = None
    batch: int | None = None
    patience: int | None = None
    halves: tuple[str, str] | None = None
    recompute: bool = False
    targets: tuple[float, ...] = ()
    cost: str = 'macs'
    cost_size: int = 512
    cost_weight: float = 1.0
    latency_table: str | None = None
    seed: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    search_options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.space not in SPACES:
            raise UserError(f"unknown space '{self.space}': expected one of {', '.join(SPACES)}")
        known = SPACES[self.space].levels
        object.__setattr__(self, 'levels', self.levels or tuple(known))
        first = known.index(self.levels[0]) if self.levels[0] in known else 0
        if list(self.levels) != known[first : first + len(self.levels)]:
            raise UserError(
                f'stages {", ".join(self.levels)}: expected consecutive stages of '
                f'{", ".join(known)}'
            )
        if self.base_channels is not None and SPACES[self.space].width is None:
            raise UserError(
                f'base_channels: space {self.space} does not support this setting; its configs set '
                'the widths'
            )
        if self.cost not in METRICS:
            raise UserError(f"unknown cost '{self.cost}': expected one of {', '.join(METRICS)}")
        for name in ('layers', 'epochs', 'base_channels', 'crop', 'batch', 'patience', 'cost_size'):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f'{name} = {value}: expected at least 1')
        if self.arch_start is not None and self.arch_start < 0:
            raise UserError(f'arch_start = {self.arch_start}: expected 0 or more')
        check_seed(self.seed)
        if any(target <= 0 for target in self.targets) or len(set(self.targets)) < len(
            self.targets
        ):
            raise UserError(f'targets {self.targets}: expected distinct positive numbers')
        object.__setattr__(self, 'targets', tuple(sorted(self.targets)))
        if len(set(self.target_names)) < len(self.targets):
            raise UserError(f'targets {", ".join(self.target_names)}: too close to each other')
        if not self.targets and (self.cost != 'macs' or self.latency_table is not None):
            raise UserError('--cost and --latency-table require --targets')
        # Equal to those of a saved plan, where JSON has turned tuples into lists.
        for name in ('options', 'search_options'):
            object.__setattr__(self, name, json.loads(json.dumps(getattr(self, name))))

    @property
    def target_names(self) -> tuple[str, ...]:
        """Folder name of each target."""
        names = (format_cost(target, self.cost).split() for target in self.targets)
        return tuple(name[0] + name[1][: None if self.cost == 'latency' else 1] for name in names)

    def differences(self, other: SearchPlan) -> list[str]:
        """Return the differences from another plan, one line each.

        Stages and the paths of config and data are not compared. The pipeline compares the content
        of the config.
        """
        mine, theirs = asdict(self), asdict(other)
        return [
            f'{k}: {theirs[k]!r}, now {mine[k]!r}'
            for k in mine
            if k not in ('levels', 'config', 'data_root') and mine[k] != theirs[k]
        ]

    def to_json(self, work_dir: str | os.PathLike) -> str:
        """Return the text of ``search.json``, with paths relative to the work dir."""
        return json.dumps(relative_paths(asdict(self), work_dir, _PATHS), indent=2) + '\n'

    @classmethod
    def load(cls, work_dir: str | os.PathLike) -> SearchPlan:
        """Return the plan of the search in a work dir.

        Raises:
            UserError: The work dir contains no search, or its file is damaged.
        """
        path = Path(work_dir) / PLAN_FILE
        try:
            document = json.loads(path.read_text(encoding='utf-8'))
            if 'hours' in document:
                raise UserError(f'{work_dir} contains a selection: use dnas select')
            if 'strategy' in document:
                raise UserError(
                    f'{work_dir} contains a selection of an older version, which cannot be resumed'
                )
            values: dict[str, Any] = {
                key: tuple(value) if isinstance(value, list) else value
                for key, value in document.items()
            }
            return cls(**absolute_paths(values, work_dir, _PATHS))
        except FileNotFoundError:
            raise UserError(f'{work_dir} contains no search to resume') from None
        except (TypeError, json.JSONDecodeError) as error:
            raise UserError(f'{path} is damaged ({error})') from None

    @classmethod
    def from_options(
        cls, options: Mapping[str, Any], work_dir: str | os.PathLike, resume: bool
    ) -> SearchPlan:
        """Return a plan with a user's options; other values are defaults or of a resumed search.

        Args:
            options: Values by attribute name; ``targets`` may be strings with units (``'40ms'``).
            work_dir: Work dir of the search.
            resume: Whether to resume the search in ``work_dir``.

        Raises:
            UserError: There is no search to resume, or the unit of a target is not that of the
                cost.
        """
        options = dict(options)
        for key in ('config', 'data_root', 'architecture', 'latency_table'):
            if os.path.exists(options.get(key) or ''):
                options[key] = os.path.abspath(options[key])
        if options.get('halves'):
            options['halves'] = tuple(map(os.path.abspath, options['halves']))
        before: dict[str, Any] = {}
        if resume and ((Path(work_dir) / PLAN_FILE).is_file() or not set(options) - {'space'}):
            before = asdict(cls.load(work_dir))
        if 'targets' in options:
            cost = options.get('cost') or before.get('cost')
            options['targets'], implied = parse_amounts(options['targets'], cost)
            options.setdefault('cost', implied)
        plan = cls(**{**before, **options})
        plan.warn_unknown_options()
        return plan

    @staticmethod
    def list_levels(work_dir: str | os.PathLike) -> tuple[str, ...]:
        """Return the levels of the space that is searched in a work dir, in order.

        They are empty if the work dir contains no search.
        """
        try:
            text = (Path(work_dir) / PLAN_FILE).read_text(encoding='utf-8')
            return tuple(SPACES[json.loads(text)['space']].levels)
        except (OSError, KeyError, TypeError, ValueError):
            return ()

    def warn_unknown_options(self) -> None:
        """Warn of overrides whose first key does not exist in the config."""
        if self.options:
            config = load_config(self.config or CONFIGS / SPACES[self.space].config)
            warn_unknown_keys(self.options, config)
        if self.search_options:
            stage = Config.fromfile(str(CONFIGS / SPACES[self.space].stage(self.levels[0]).config))
            warn_unknown_keys(self.search_options, stage, '--search-options')
