"""What a search is asked to do, and the configs that follow from it."""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmseg.registry import DATASETS

from dnas_mmseg.cost.table import METRICS, format_cost
from dnas_mmseg.datasets import multi_band_parts
from dnas_mmseg.engine.config_checks import warn_unknown_keys
from dnas_mmseg.engine.configs import leaf_datasets, load_config
from dnas_mmseg.errors import UserError
from dnas_mmseg.spaces.architecture import Architecture
from dnas_mmseg.spaces.registry import SPACES

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
FILE_NAME = 'search.json'

_TASK = (
    'num_classes',
    'out_channels',
    'threshold',
    'ignore_index',
    'loss_decode',
    'sampler',
    'align_corners',
)
"""What a supernet's own head takes over from the network's: what is to be learned."""

_UNITS = {'ms': 1e-3, 's': 1.0, 'K': 1e3, 'M': 1e6, 'G': 1e9, '': 1.0}
_TIMES = {'ms', 's'}
_AMOUNT = re.compile(r'((?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(ms|s|K|M|G|)')


@dataclass(frozen=True)
class SearchPlan:
    """Settings of a search. None leaves a setting to the configs.

    Attributes:
        space: Name of the search space.
        config: Config of a searched network on the user's data, or of the data alone; its data,
            head and classes are used, its schedule is that of retraining. ``supernet = dict(...)``
            in it sets arguments of the supernets.
        data_root: Replaces the config's.
        layers: Number of layers, in spaces that leave it open.
        levels: The stages to run, in order; all by default.
        architecture: What the first stage starts from, where that is not the space's first.
        epochs: Of each stage.
        arch_start: First epoch with architecture steps, counted from 0.
        base_channels: Width of the network; by default that in the config.
        crop: Side of the square crops, in pixels, in the search.
        batch: Images a batch and process in the search.
        patience: Stop a stage when its architecture has not changed for so many epochs.
        halves: Two list files instead of a random split of the training list.
        recompute: Recompute activations in backward: less memory, more time.
        targets: What networks are to cost; several are found in one search.
        cost: What of, ``'macs'``, ``'params'`` or ``'latency'``.
        cost_size: Side of the images that the cost is about, in pixels.
        cost_weight: How hard the search is pushed to the target.
        latency_table: Measured parts (``measure_latency.py``).
        seed: Of everything random, the halves included.
        options: Overrides of the config, as ``--cfg-options`` gives them.
        search_options: Overrides of each stage's config.

    Raises:
        UserError: A value makes no sense.
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
        # As they come back from the file: without tuples.
        for name in ('options', 'search_options'):
            object.__setattr__(self, name, json.loads(json.dumps(getattr(self, name))))

    @property
    def target_names(self) -> tuple[str, ...]:
        """Names of the targets, for folders."""
        names = (format_cost(target, self.cost).split() for target in self.targets)
        return tuple(name[0] + name[1][: None if self.cost == 'latency' else 1] for name in names)

    def differences(self, other: SearchPlan) -> list[str]:
        """Return what differs from another plan, a line each; the stages to run may differ."""
        mine, theirs = asdict(self), asdict(other)
        return [
            f'{k}: {theirs[k]!r}, now {mine[k]!r}'
            for k in mine
            if k != 'levels' and mine[k] != theirs[k]
        ]

    def to_json(self) -> str:
        """The plan as ``search.json`` has it."""
        return json.dumps(asdict(self), indent=2) + '\n'

    @classmethod
    def load(cls, work_dir: str | os.PathLike) -> SearchPlan:
        """The plan of the search in a work dir.

        Raises:
            UserError: There is none.
        """
        path = Path(work_dir) / FILE_NAME
        try:
            document = json.loads(path.read_text(encoding='utf-8'))
            return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in document.items()})
        except FileNotFoundError:
            raise UserError(f'{work_dir} holds no search: nothing to resume') from None
        except (TypeError, json.JSONDecodeError) as error:
            raise UserError(f'{path} is damaged ({error})') from None

    @classmethod
    def from_options(
        cls, options: Mapping[str, Any], work_dir: str | os.PathLike, resume: bool
    ) -> SearchPlan:
        """The plan of options that a user gave; when resuming, the others are as they were.

        Args:
            options: Values of the plan; ``targets`` may be texts with units, e.g. ``'40ms'``.
            work_dir: Where the search to resume is.
            resume: Whether to go on with it.

        Raises:
            UserError: There is nothing to resume, or a target is no amount of the cost.
        """
        options = dict(options)
        for key in ('config', 'data_root', 'architecture', 'latency_table'):
            if os.path.exists(options.get(key) or ''):
                options[key] = os.path.abspath(options[key])
        if 'halves' in options:
            options['halves'] = tuple(map(os.path.abspath, options['halves']))
        before: dict[str, Any] = {}
        if resume and ((Path(work_dir) / FILE_NAME).is_file() or not set(options) - {'space'}):
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


def _amounts(texts: Iterable[str | float], cost: str | None) -> tuple[tuple[float, ...], str]:
    """Read targets with units, each of which goes with certain costs.

    Args:
        texts: E.g. ``'1.5G'``, ``'300M'`` or ``'40ms'``; numbers stand for themselves.
        cost: What they are of, if that is known.

    Returns:
        The numbers, and what they are of.

    Raises:
        UserError: One is no amount, or of something else than the others or ``cost``.
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


def stage_config(
    plan: SearchPlan, level: str, architecture: str | Mapping | Architecture | None
) -> Config:
    """A stage as an ordinary config: the user's data and head, the stage's supernet and schedule.

    Args:
        plan: The plan.
        level: Which stage.
        architecture: What the stage before decided; None for a space's first.
    """
    space = SPACES[plan.space]
    settings = Config.fromfile(str(CONFIGS / space.stage(level).config))
    config = _user_config(plan)
    network = copy.deepcopy(config.model)
    backbone = settings.model.backbone
    backbone.update({key: network.backbone[key] for key in space.shared if key in network.backbone})
    if 'architecture' in backbone:
        backbone.architecture = architecture
    elif 'layers' not in backbone and plan.layers is not None:
        raise UserError(f'layers: space {plan.space} has none; its blocks are in its configs')
    backbone.update(config.pop('supernet', {}))
    if 'layers' in backbone and plan.layers is not None:
        backbone.layers = plan.layers
    if plan.recompute:
        backbone.with_cp = True
    config.model.backbone = backbone
    if space.own_head:
        if not isinstance(network.decode_head, dict):
            raise UserError(f'space {plan.space}: one decode_head is needed, not a list')
        head = {key: network.decode_head[key] for key in _TASK if key in network.decode_head}
        own = settings.model.decode_head
        own.pop('loss_decode')
        config.model.decode_head = {**own, **head}
        config.model.pop('auxiliary_head', None)
    for key in ('optim_wrapper', 'param_scheduler', 'train_cfg', 'auto_scale_lr', 'log_processor'):
        config[key] = settings[key]
    # Where only a part of a supernet takes part in a step; a part of the user's model may, too.
    if settings.get('find_unused_parameters'):
        config.find_unused_parameters = True
        if config.get('model_wrapper_cfg'):
            config.model_wrapper_cfg.find_unused_parameters = True
    for key in ('val_cfg', 'val_dataloader', 'val_evaluator', 'load_from'):
        config[key] = None
    # Exact resuming hangs on these; the interval of the log is the user's.
    own_hooks = config.get('default_hooks', {})
    config.default_hooks = {
        **own_hooks,
        **{key: hook for key, hook in settings.default_hooks.items() if key != 'logger'},
        'logger': own_hooks.get('logger', settings.default_hooks.logger),
    }
    # An average of weights is the retraining recipe's; a search decides by the weights themselves.
    own = [hook for hook in config.get('custom_hooks', []) if hook['type'] != 'EMAHook']
    config.custom_hooks = [*own, *settings.custom_hooks]
    hook = search_hook(config)
    if plan.epochs is not None:
        config.train_cfg.max_epochs = config.param_scheduler.T_max = plan.epochs
    for key in ('arch_start', 'patience'):
        if getattr(plan, key) is not None:
            hook[key] = getattr(plan, key)
    if plan.targets:
        hook.cost = dict(
            metric=plan.cost,
            target=list(plan.targets),
            weight=plan.cost_weight,
            size=(plan.cost_size, plan.cost_size),
            table=plan.latency_table,
            network=network,
        )
    _set_loader(plan, config, settings.train_dataloader, hook)
    config.merge_from_dict(plan.search_options)
    return config


def retrain_config(plan: SearchPlan, architecture: str | Mapping | Architecture) -> Config:
    """The user's config with the network that an architecture describes."""
    config = _user_config(plan)
    config.model.backbone.architecture = architecture
    config.model.backbone.pop('init_cfg', None)  # of another network
    config.pop('supernet', None)
    return config


def supernet_config(plan: SearchPlan) -> dict:
    """Return the config of the first stage's supernet, which contains all networks of the space."""
    first, *_ = SPACES[plan.space].levels
    return stage_config(plan, first, None).model.backbone


def random_architecture(plan: SearchPlan, rng: np.random.Generator, name: str) -> Architecture:
    """Draw a network from the space of a plan: what a search must beat."""
    return SPACES[plan.space].random(supernet_config(plan), rng, name)


def search_hook(config: Config) -> dict:
    """The config of a stage's search hook."""
    return next(h for h in config.custom_hooks if h['type'] == 'ArchitectureSearchHook')


def _set_loader(plan: SearchPlan, config: Config, settings: dict, hook: dict) -> None:
    """The user's loader, on half A, as exact resuming needs it."""
    loader = config.train_dataloader
    loader.worker_init_fn = settings.worker_init_fn
    loader.persistent_workers = False
    leaves = list(leaf_datasets(loader))
    if plan.halves is None:
        loader.sampler = {**settings.sampler, 'split_seed': plan.seed}
    else:
        if len(leaves) > 1 or leaves[0] is not loader.dataset:
            raise UserError('halves as two lists need a plain training set, no wrapper around it')
        half_a, half_b = map(os.path.abspath, plan.halves)
        loader.dataset.ann_file, hook['half_b'] = half_a, dict(ann_file=half_b)
        loader.sampler = dict(type='DefaultSampler', shuffle=True)
    if plan.batch is not None:
        loader.batch_size = plan.batch
    if plan.crop is not None:
        for leaf in leaves:
            _set_crop(leaf, plan.crop)
        if config.model.data_preprocessor.get('size') is not None:  # to which it fills up
            config.model.data_preprocessor.size = (plan.crop, plan.crop)


def _user_config(plan: SearchPlan) -> Config:
    """The config to start from, with a model also where the user's tells of data alone."""
    space = SPACES[plan.space]
    default = CONFIGS / space.config
    config = load_config(plan.config or default, data_root=plan.data_root)
    if 'model' not in config:
        data, config = config, Config.fromfile(str(default))
        _merge_data(config, data)
        _fit_to_data(config)
    config.merge_from_dict(plan.options)
    config.pop('work_dir', None)  # each run says its own
    backbone = config.model.get('backbone', {}).get('type')
    if backbone != space.network:
        raise UserError(
            f'{plan.config} is a config of {backbone}; a search in space {plan.space} takes data, '
            f'bands and head from one of {space.network}, configs/{space.config} for instance'
        )
    if plan.base_channels is not None:
        config.model.backbone[space.width] = plan.base_channels
    return config


def _merge_data(config: Config, data: Config) -> None:
    """Put a config that tells of data alone over one that has a model.

    A data set that names its type is whole, and takes the place of the default's; it gets the
    default's pipeline where it has none. One without a type changes the default's.
    """
    own = copy.deepcopy(data.to_dict())
    for split in ('train', 'val', 'test'):
        loader = own.get(f'{split}_dataloader') or {}
        if 'type' not in (loader.get('dataset') or {}):
            continue
        default = next(leaf_datasets(config[f'{split}_dataloader']))
        for leaf in leaf_datasets(loader):
            for key in ('pipeline', 'test_mode'):
                if key in default:
                    leaf.setdefault(key, copy.deepcopy(default[key]))
        loader['dataset']['_delete_'] = True
    config.merge_from_dict(own)


def _fit_to_data(config: Config) -> None:
    """Bands, classes and normalisation of the model, as the training set has them.

    Raises:
        UserError: The data do not say their statistics.
    """
    parts = multi_band_parts(DATASETS.build(config.train_dataloader.dataset))
    if not all(part.description.mean for part in parts):
        raise UserError(
            'the config has no model, and the data no dataset.json with mean and std: add a model '
            '(README, "Your own tiles"; `browse_dataset.py CONFIG --check` prints mean and std)'
        )
    shares = np.array([len(part) for part in parts], float)
    means, stds = (np.array([getattr(p.description, k) for p in parts]) for k in ('mean', 'std'))
    mean = np.average(means, axis=0, weights=shares)
    # Of the parts together: the mean square, less the square of the mean.
    std = np.sqrt(np.average(stds**2 + means**2, axis=0, weights=shares) - mean**2)
    config.model.data_preprocessor.update(
        mean=[round(float(value), 4) for value in mean], std=[round(float(s), 4) for s in std]
    )
    config.model.backbone.in_channels = len(parts[0].used_bands)
    config.model.decode_head.num_classes = len(parts[0].metainfo['classes'])


def _set_crop(dataset: dict, crop: int) -> None:
    """Crop squares; where the pipeline does not crop yet, behind the loading of the labels."""
    pipeline = dataset['pipeline']
    step = next((step for step in pipeline if step['type'] == 'RandomCrop'), None)
    if step is None:
        after = [i for i, step in enumerate(pipeline) if 'Annotations' in step['type']]
        step = dict(type='RandomCrop')
        pipeline.insert(after[-1] + 1 if after else 1, step)
    step['crop_size'] = (crop, crop)
