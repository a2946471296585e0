"""Settings of a search, as the user gives them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from dnas_mmseg.cost.table import METRICS, format_cost
from dnas_mmseg.engine.config_checks import warn_unknown_keys
from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.errors import UserError
from dnas_mmseg.shipped import CONFIGS
from dnas_mmseg.spaces.registry import SPACES

PLAN_FILE = 'search.json'
NETWORK_FILE = 'network.py'
"""Config of a work dir that the others in it inherit: the user's, as the search found it."""

_PATHS = (
    'config', 'data_root', 'architecture', 'latency_table', 'halves', 'candidates', 'baselines'
)  # fmt: skip
"""Settings that are paths, or may be."""

_UNITS = {'ms': 1e-3, 's': 1.0, 'K': 1e3, 'M': 1e6, 'G': 1e9, '': 1.0}
_TIMES = {'ms', 's'}
_AMOUNT = re.compile(r'((?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(ms|s|K|M|G|)')


@dataclass(frozen=True)
class SearchPlan:
    """Settings of a search; None leaves a setting to the configs.

    Attributes:
        space: Name of the search space.
        config: Config of a searched network on the user's data, or of the data alone; its data,
            head and classes are used, its schedule is that of retraining. ``supernet = dict(...)``
            in it sets arguments of the supernets.
        data_root: Root of the data, in place of the config's.
        layers: Number of layers, in spaces that leave it open.
        levels: Levels of the stages to run, in order; all by default.
        architecture: Name or path of the architecture that the first stage starts from, where that
            is not the space's first.
        epochs: Number of epochs of each stage.
        arch_start: First epoch with architecture steps, counted from 0.
        base_channels: Width of the network; by default that in the config.
        crop: Side of the square crops in the search, in pixels.
        batch: Number of images in a batch of a process in the search.
        patience: Number of epochs without a change of its architecture after which a stage stops.
        halves: Two list files, in place of a random split of the training list.
        recompute: Whether to recompute activations in backward: less memory, more time.
        targets: Costs that networks are to have; several are found in one search.
        cost: Metric of the costs, ``'macs'``, ``'params'`` or ``'latency'``.
        cost_size: Side of the images that the cost is about, in pixels.
        cost_weight: Weight with which the search is pushed to the target.
        latency_table: Path of the measured parts (``dnas measure-latency``).
        seed: Seed of everything random, the halves included.
        options: Overrides of the config, as ``--cfg-options`` gives them.
        search_options: Overrides of each stage's config.

    Raises:
        UserError: A value is not possible.
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
            raise UserError(f"space '{self.space}' is unknown; there are {', '.join(SPACES)}")
        known = SPACES[self.space].levels
        object.__setattr__(self, 'levels', self.levels or tuple(known))
        first = known.index(self.levels[0]) if self.levels[0] in known else 0
        if list(self.levels) != known[first : first + len(self.levels)]:
            raise UserError(
                f'stages {", ".join(self.levels)}: they are {", ".join(known)}, any number of '
                'them that follow each other'
            )
        if self.base_channels is not None and SPACES[self.space].width is None:
            raise UserError(f"base_channels: the widths of space {self.space} are its configs'")
        if self.cost not in METRICS:
            raise UserError(f"cost '{self.cost}' is unknown: there are {', '.join(METRICS)}")
        for name in ('layers', 'epochs', 'base_channels', 'crop', 'batch', 'patience', 'cost_size'):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f'{name} = {value}: at least 1 is needed')
        if any(target <= 0 for target in self.targets) or len(set(self.targets)) < len(
            self.targets
        ):
            raise UserError(f'targets {self.targets}: positive ones, each once, are needed')
        object.__setattr__(self, 'targets', tuple(sorted(self.targets)))
        if len(set(self.target_names)) < len(self.targets):
            raise UserError(f'targets {", ".join(self.target_names)}: too near to each other')
        if not self.targets and (self.cost != 'macs' or self.latency_table is not None):
            raise UserError('a cost without targets does nothing: say what it is to be')
        # Make them as they come back from the file, without tuples.
        for name in ('options', 'search_options'):
            object.__setattr__(self, name, json.loads(json.dumps(getattr(self, name))))

    @property
    def target_names(self) -> tuple[str, ...]:
        """Names of the targets' folders."""
        names = (format_cost(target, self.cost).split() for target in self.targets)
        return tuple(name[0] + name[1][: None if self.cost == 'latency' else 1] for name in names)

    def differences(self, other: SearchPlan) -> list[str]:
        """Return the differences from another plan, a line each.

        The stages to run may differ, and where the config and the data are: the config is compared
        by its content.
        """
        mine, theirs = asdict(self), asdict(other)
        return [
            f'{k}: {theirs[k]!r}, now {mine[k]!r}'
            for k in mine
            if k not in ('levels', 'config', 'data_root') and mine[k] != theirs[k]
        ]

    def to_json(self, work_dir: str | os.PathLike) -> str:
        """Return the plan as the text of ``search.json`` in a work dir."""
        return json.dumps(relative_paths(asdict(self), work_dir), indent=2) + '\n'

    @classmethod
    def load(cls, work_dir: str | os.PathLike) -> SearchPlan:
        """Return the plan of the search in a work dir.

        Raises:
            UserError: There is no search, or its file is damaged.
        """
        path = Path(work_dir) / PLAN_FILE
        try:
            document = json.loads(path.read_text(encoding='utf-8'))
            if 'strategy' in document:
                raise UserError(
                    f'{work_dir} holds a selection by trainings (--strategy {document["strategy"]})'
                )
            values: dict[str, Any] = {
                key: tuple(value) if isinstance(value, list) else value
                for key, value in document.items()
            }
            return cls(**absolute_paths(values, work_dir))
        except FileNotFoundError:
            raise UserError(f'{work_dir} holds no search: nothing to resume') from None
        except (TypeError, json.JSONDecodeError) as error:
            raise UserError(f'{path} is damaged ({error})') from None

    @classmethod
    def from_options(
        cls, options: Mapping[str, Any], work_dir: str | os.PathLike, resume: bool
    ) -> SearchPlan:
        """Return the plan of a user's options; when resuming, other values are those of the search.

        Args:
            options: Values of the plan; ``targets`` may be texts with units, e.g. ``'40ms'``.
            work_dir: Folder of the search to resume.
            resume: Whether to go on with the search in ``work_dir``.

        Raises:
            UserError: There is nothing to resume, or a target is no amount of the cost.
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
            options['targets'], implied = _amounts(options['targets'], cost)
            options.setdefault('cost', implied)
        plan = cls(**{**before, **options})
        plan.warn_unknown_options()
        return plan

    def warn_unknown_options(self) -> None:
        """Warn of overrides that have no effect, as nothing reads their first key."""
        if self.options:
            config = load_config(self.config or CONFIGS / SPACES[self.space].config)
            warn_unknown_keys(self.options, config)
        if self.search_options:
            stage = Config.fromfile(str(CONFIGS / SPACES[self.space].stage(self.levels[0]).config))
            warn_unknown_keys(self.search_options, stage, '--search-options')


def relative_paths(settings: Mapping[str, Any], folder: str | os.PathLike) -> dict[str, Any]:
    """Return settings with absolute paths written relative to a folder, with ``./`` or ``../``.

    A work dir can then be moved or copied together with what it names.
    """

    def shorten(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return tuple(map(shorten, value))
        if not isinstance(value, str) or not os.path.isabs(value):
            return value
        path = Path(os.path.relpath(value, folder)).as_posix()
        return path if path.startswith('.') else f'./{path}'

    return {key: shorten(value) if key in _PATHS else value for key, value in settings.items()}


def absolute_paths(settings: Mapping[str, Any], folder: str | os.PathLike) -> dict[str, Any]:
    """Return settings of :func:`relative_paths` with absolute paths.

    A config that is not found any more is replaced by the work dir's copy of it.
    """

    def lengthen(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return tuple(map(lengthen, value))
        if not isinstance(value, str) or not value.startswith(('./', '../')):
            return value
        return os.path.abspath(Path(folder) / value)

    result = {key: lengthen(value) if key in _PATHS else value for key, value in settings.items()}
    config, copy = result.get('config'), Path(folder) / NETWORK_FILE
    if config and os.path.isabs(config) and not os.path.exists(config) and copy.is_file():
        result['config'] = os.path.abspath(copy)
    return result


def _amounts(texts: Iterable[str | float], cost: str | None) -> tuple[tuple[float, ...], str]:
    """Read targets with units, which say the metric in part.

    Args:
        texts: Targets, ``'1.5G'``, ``'300M'`` or ``'40ms'`` for instance; numbers stand for
            themselves.
        cost: Metric of the targets, if it is known.

    Returns:
        Numbers of the targets, and their metric.

    Raises:
        UserError: A text is no amount, or of another metric than the others or ``cost``.
    """
    amounts: list[float] = []
    units: dict[str, str] = {}
    for text in map(str, texts):
        found = _AMOUNT.fullmatch(text.strip())
        if found is None:
            raise UserError(f"target '{text}' is no amount: write e.g. 10G, 2.5M or 40ms")
        number, unit = found.groups()
        amounts.append(float(number) * _UNITS[unit])
        units[unit] = text
    cost = cost or ('latency' if _TIMES & set(units) else 'macs')
    timed = cost == 'latency'
    wrong = [text for unit, text in units.items() if unit and (unit in _TIMES) != timed]
    if wrong:
        raise UserError(
            f"target '{wrong[0]}' is no amount of {'time' if timed else METRICS[cost]}: ms and s "
            'go with --cost latency, K, M and G with --cost macs or params'
        )
    return tuple(amounts), cost
