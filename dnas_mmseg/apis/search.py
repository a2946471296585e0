"""The search as a whole: stage after stage, from tiles to an architecture and a config for it.

What is in a work dir:

    search.json                  the plan; --resume goes by it
    <level>.py, <level>/         a stage's config, an ordinary one, and its run
    path.json, connection.json   what a stage decided, the next one's input
    architecture.json            what the last one decided
    retrain.py                   a config that trains it; retrain/ and test/ with --retrain
"""

from __future__ import annotations

import gc
import json
import os
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import barrier, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import DATASETS, MODELS
from mmseg.structures import SegDataSample
from rich.console import Console
from rich.table import Table

from dnas_mmseg.architectures import Architecture, ArchitectureError, load_architecture
from dnas_mmseg.errors import UserError
from dnas_mmseg.files import exclusive, write_text
from dnas_mmseg.search.dnas import random_architecture

from .command_line import join_processes, load_config, set_launcher
from .running import build_runner, test, train

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


class Space(NamedTuple):
    """What the pipeline knows of a search space.

    Attributes:
        network: Registered name of the searched network.
        config: Config that searches start from, unless the user names one.
        stages: By level, in order: the config whose supernet and search settings a stage takes.
        width: The backbones' argument for their width.
        draw: ``(layers, rng, name) -> architecture``: a network at random.
    """

    network: str
    config: str
    stages: Mapping[str, str]
    width: str
    draw: Any


SPACES = {
    'dnas': Space(
        network='DNAS',
        config='dnas/dnas_l14_gid5.py',
        stages={
            level: f'dnas/dnas_l14_{level}-search_gid5.py'
            for level in ('path', 'connection', 'cell')
        },
        width='base_channels',
        draw=random_architecture,
    ),
}
"""Every search space by name. A new space adds its line here."""


@dataclass(frozen=True)
class SearchPlan:
    """What a search is asked to do. None leaves a setting to the configs.

    Attributes:
        space: Name of the search space.
        config: Config of a searched network on the user's data; its data, head and classes are
            used, its schedule is that of retraining.
        data_root: Replaces the config's.
        layers: Number of layers.
        levels: The stages to run, in order.
        architecture: What the first stage starts from, where that is not the space's first.
        epochs: Of each stage.
        arch_start: First epoch with architecture steps, counted from 0; a third by default.
        base_channels: Width of supernets and network; by default that in the config.
        crop: Side of the square crops, in pixels, in the search.
        batch: Images a batch and process in the search.
        patience: Stop a stage when its architecture has not changed for so many epochs.
        halves: Two list files instead of a random split of the training list.
        recompute: Recompute activations in backward: less memory, more time.
        seed: Of everything random.
        options: Overrides of the config, as ``--cfg-options`` gives them.
    """

    space: str = 'dnas'
    config: str | None = None
    data_root: str | None = None
    layers: int = 14
    levels: tuple[str, ...] = ('path', 'connection', 'cell')
    architecture: str | None = None
    epochs: int | None = None
    arch_start: int | None = None
    base_channels: int | None = None
    crop: int | None = None
    batch: int | None = None
    patience: int | None = None
    halves: tuple[str, str] | None = None
    recompute: bool = False
    seed: int = 0
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.space not in SPACES:
            raise UserError(f"space '{self.space}' is unknown; there are {', '.join(SPACES)}")
        known = list(SPACES[self.space].stages)
        positions = [known.index(level) for level in self.levels if level in known]
        if not self.levels or positions != list(
            range(positions[0], positions[0] + len(self.levels)) if positions else ()
        ):
            raise UserError(
                f'stages {", ".join(self.levels) or "none"}: they are {", ".join(known)}, any '
                'number of them that follow each other'
            )

    def differences(self, other: SearchPlan) -> list[str]:
        """What differs from another plan, one line each; which stages to run now may differ."""
        mine, theirs = asdict(self), asdict(other)
        return [
            f'{k}: {theirs[k]!r}, now {mine[k]!r}'
            for k in mine
            if k != 'levels' and mine[k] != theirs[k]
        ]


class _Cost(NamedTuple):
    """Seconds of an iteration of a stage, without and with an architecture step, and how many."""

    plain: float
    searching: float
    iterations: int
    epochs: int
    arch_start: int

    def seconds(self, epochs_done: int = 0) -> float:
        """For the epochs that are left."""
        left = range(epochs_done, self.epochs)
        searching = sum(epoch >= self.arch_start for epoch in left)
        return self.iterations * (searching * self.searching + (len(left) - searching) * self.plain)


def search(
    plan: SearchPlan,
    work_dir: str | os.PathLike,
    *,
    resume: bool = False,
    dry_run: bool = False,
    retrain: bool = False,
    tensorboard: bool = False,
    launcher: str = 'none',
) -> Architecture | None:
    """Run a search.

    Args:
        plan: What to search, on what.
        work_dir: Where everything goes.
        resume: Go on where a run in ``work_dir`` stopped.
        dry_run: Only say what would be done and how long it would take.
        retrain: Train and test what is found.
        tensorboard: Also write the figures for TensorBoard.
        launcher: How the processes were started, as mmengine calls it.

    Returns:
        The architecture of the last stage.

    Raises:
        UserError: The work dir is in use, holds another search, or the plan cannot work.
    """
    return _Search(plan, Path(work_dir), tensorboard, launcher).run(resume, dry_run, retrain)


def stored_plan(work_dir: str | os.PathLike) -> SearchPlan:
    """The plan of the search in a work dir.

    Raises:
        UserError: There is none.
    """
    path = Path(work_dir) / 'search.json'
    try:
        document = json.loads(path.read_text(encoding='utf-8'))
        frozen = {k: tuple(v) if isinstance(v, list) else v for k, v in document.items()}
        return SearchPlan(**frozen)
    except FileNotFoundError:
        raise UserError(f'{work_dir} holds no search: nothing to resume') from None
    except (TypeError, json.JSONDecodeError) as error:
        raise UserError(f'{path} is damaged ({error})') from None


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
    settings = Config.fromfile(str(CONFIGS / space.stages[level]))
    config = _user_config(plan)
    backbone = settings.model.backbone
    backbone.update(_own_backbone(plan, config))
    if 'architecture' in backbone:
        backbone.architecture = architecture
    else:
        backbone.layers = plan.layers
    if plan.recompute:
        backbone.with_cp = True
    config.model.backbone = backbone
    for key in ('optim_wrapper', 'param_scheduler', 'train_cfg'):
        config[key] = settings[key]
    for key in ('val_cfg', 'val_dataloader', 'val_evaluator'):
        config[key] = None
    config.default_hooks.checkpoint.save_best = None
    config.custom_hooks = [*config.get('custom_hooks', []), *settings.custom_hooks]
    hook = config.custom_hooks[-1]
    if plan.epochs is not None:
        config.train_cfg.max_epochs = config.param_scheduler.T_max = plan.epochs
    for key in ('arch_start', 'patience'):
        if getattr(plan, key) is not None:
            hook[key] = getattr(plan, key)
    loader = config.train_dataloader
    loader.sampler = settings.train_dataloader.sampler
    loader.worker_init_fn = settings.train_dataloader.worker_init_fn
    loader.persistent_workers = False
    if plan.halves is not None:
        half_a, hook['half_b'] = (dict(ann_file=os.path.abspath(path)) for path in plan.halves)
        loader.dataset.update(half_a)
        loader.sampler = dict(type='DefaultSampler', shuffle=True)
    if plan.batch is not None:
        loader.batch_size = plan.batch
    if plan.crop is not None:
        _set_crop(loader.dataset, plan.crop)
    return config


def retrain_config(plan: SearchPlan, architecture: str | Mapping | Architecture) -> Config:
    """The user's config with the network that an architecture describes."""
    config = _user_config(plan)
    config.model.backbone = dict(
        type=SPACES[plan.space].network, architecture=architecture, **_own_backbone(plan, config)
    )
    return config


class _Search:
    """A plan at work in a folder."""

    def __init__(self, plan: SearchPlan, work_dir: Path, tensorboard: bool, launcher: str) -> None:
        self.plan, self.work_dir = plan, work_dir
        self.tensorboard, self.launcher = tensorboard, launcher
        self.space = SPACES[plan.space]
        self.seconds: dict[str, float] = {}
        init_default_scope('mmseg')
        join_processes(launcher)

    def run(self, resume: bool, dry_run: bool, retrain: bool) -> Architecture | None:
        start = self._start()
        costs = {level: self._cost(level) for level in self.plan.levels}
        if is_main_process():
            self._show_plan(start, costs, retrain)
        if dry_run:
            return None
        with exclusive(self.work_dir) if is_main_process() else nullcontext():
            if is_main_process():
                self._claim(resume)
            barrier()
            return self._stages(start, costs, resume, retrain)

    def _stages(
        self, current: Architecture | None, costs: dict[str, _Cost], resume: bool, retrain: bool
    ) -> Architecture | None:
        for i, level in enumerate(self.plan.levels):
            result = self._result(level)
            if resume and result.is_file():
                current = load_architecture(result)
                continue
            remaining = sum(costs[later].seconds() for later in self.plan.levels[i + 1 :])
            began = time.monotonic()
            current = self._stage(level, current, _Progress(level, costs[level], remaining))
            self.seconds[level] = time.monotonic() - began
            if is_main_process():
                current.save(result)
            barrier()
        if current.level == 'cell':
            self._write_retrain()
            if retrain:
                self._retrain(resume)
        if is_main_process():
            self._show_summary(current)
        return current

    def _stage(self, level: str, current: Architecture | None, progress: Hook) -> Architecture:
        """Run a stage from its config file and decode it."""
        folder = self.work_dir / level
        given: str | dict | None = None
        if current is not None:
            named = self.plan.architecture is not None and level == self.plan.levels[0]
            beside = f'{{{{ fileDirname }}}}/{self._before(level)}.json'
            given = current.to_document() if named else beside
        path = self._config_file(f'{level}.py', stage_config(self.plan, level, given))
        config = self._load(path, folder)
        runner = build_runner(config)
        runner.register_hook(progress)
        runner.train()
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        decoded = replace(
            model.backbone.decode(),
            name=self.work_dir.resolve().name,
            provenance={
                'searched_with': 'dnas_mmseg',
                'config': Path(self.plan.config or self.space.config).name,
                'stages': ', '.join(self.plan.levels),
                'epochs': runner.max_epochs,
                'seed': self.plan.seed,
            },
        )
        del runner, model
        gc.collect()
        return decoded

    def _retrain(self, resume: bool) -> None:
        """Train what was found, and test it."""
        config = self._load(self.work_dir / 'retrain.py', self.work_dir / 'retrain')
        train(config)
        best = sorted((self.work_dir / 'retrain').glob('best_*.pth'), key=os.path.getmtime)
        last = Path((self.work_dir / 'retrain' / 'last_checkpoint').read_text().strip())
        config = self._load(self.work_dir / 'retrain.py', self.work_dir / 'test')
        test(config, str(best[-1] if best else last))

    def _load(self, path: Path, folder: Path) -> Config:
        """A config of this work dir, ready to run or to go on."""
        config = Config.fromfile(str(path))
        config.work_dir = str(folder)
        config.randomness = dict(seed=self.plan.seed)
        config.visualizer.name = str(folder)  # there is one of each name in a process
        if self.tensorboard:
            config.visualizer.vis_backends.append(dict(type='TensorboardVisBackend'))
        config.resume = (folder / 'last_checkpoint').is_file()
        for leftover in folder.glob('.*.pth') if is_main_process() else ():
            leftover.unlink()  # of a checkpoint that a kill cut off
        set_launcher(config, self.launcher)
        return config

    def _start(self) -> Architecture | None:
        """What the first stage starts from.

        Raises:
            ArchitectureError: It is missing, or of another space, level or number of layers.
        """
        needed = self._before(self.plan.levels[0])
        source = self.plan.architecture
        if needed is None:
            if source is not None:
                raise ArchitectureError(
                    f'stage {self.plan.levels[0]} starts from nothing; leave out --architecture'
                )
            return None
        if source is None:
            source = self.work_dir / f'{needed}.json'
            if not source.is_file():
                raise ArchitectureError(
                    f'stage {self.plan.levels[0]} starts from an architecture of level '
                    f"'{needed}': name one by --architecture, or run stage {needed} first"
                )
        architecture = load_architecture(source)
        architecture.require(self.plan.space, needed, by=f'stage {self.plan.levels[0]}')
        if architecture.layers != self.plan.layers:
            raise ArchitectureError(
                f"architecture '{architecture.name}' has {architecture.layers} layers, the search "
                f'is for {self.plan.layers} (--layers)'
            )
        return architecture

    def _before(self, level: str) -> str | None:
        """The stage whose result a stage starts from."""
        levels = list(self.space.stages)
        return levels[levels.index(level) - 1] if levels.index(level) else None

    def _result(self, level: str) -> Path:
        name = 'architecture' if level == 'cell' else level
        return self.work_dir / f'{name}.json'

    def _claim(self, resume: bool) -> None:
        """Write the plan, or compare with the one that is there."""
        path = self.work_dir / 'search.json'
        if path.is_file():
            if not resume:
                raise UserError(
                    f'{self.work_dir} holds a search already: --resume goes on with it; '
                    'choose another work dir for a new one'
                )
            differences = self.plan.differences(stored_plan(self.work_dir))
            if differences:
                raise UserError(
                    f'{self.work_dir} holds another search. What differs:\n'
                    + '\n'.join(f'  - {line}' for line in differences)
                )
        write_text(path, json.dumps(asdict(self.plan), indent=2) + '\n')

    def _config_file(self, name: str, config: Config) -> Path:
        """Write a config, or check that it is what it was when this search began."""
        path = self.work_dir / name
        if is_main_process():
            text = f'# Written by tools/search.py; an ordinary config.\n{config.pretty_text}'
            if path.is_file():
                before = path.read_text(encoding='utf-8')
                if before != text:
                    changed = sorted(set(text.splitlines()) ^ set(before.splitlines()))
                    raise UserError(
                        f'{path} was written from other settings (the config it inherits, or this '
                        'package, has changed since). Lines that differ:\n'
                        + '\n'.join(f'  {line.strip()}' for line in changed[:8])
                    )
            write_text(path, text)
        barrier()
        return path

    def _write_retrain(self) -> None:
        config = retrain_config(self.plan, '{{ fileDirname }}/architecture.json')
        self._config_file('retrain.py', config)

    def _cost(self, level: str) -> _Cost:
        """Time an iteration of a stage on noise, on a random network where none is known yet."""
        before = self._before(level)
        drawn = self.space.draw(self.plan.layers, np.random.default_rng(0), 'drawn')
        config = stage_config(self.plan, level, drawn.at_level(before) if before else None)
        dataset = DATASETS.build(config.train_dataloader.dataset)
        tiles = (len(dataset) + 1) // 2 if self.plan.halves is None else len(dataset)
        batch = config.train_dataloader.batch_size
        epochs = config.train_cfg.max_epochs
        arch_start = config.custom_hooks[-1].get('arch_start')
        size = _image_size(dataset)
        plain, searching = _probe(config.model, batch, size, len(dataset.metainfo['classes']))
        return _Cost(
            plain,
            searching,
            tiles // (batch * get_world_size()),
            epochs,
            epochs // 3 if arch_start is None else arch_start,
        )

    def _show_plan(
        self, start: Architecture | None, costs: dict[str, _Cost], retrain: bool
    ) -> None:
        table = Table(title=f'search in space {self.plan.space}: {self.work_dir}')
        for heading in ('stage', 'epochs', 'from epoch', 'iterations', 's a step', 'time, about'):
            table.add_column(heading, justify='left' if heading == 'stage' else 'right')
        for level, cost in costs.items():
            table.add_row(
                level,
                str(cost.epochs),
                f'{cost.arch_start + 1}',
                f'{cost.epochs * cost.iterations:,}',
                f'{cost.plain:.2f} / {cost.searching:.2f}',
                _duration(cost.seconds()),
            )
        table.add_section()
        total = sum(cost.seconds() for cost in costs.values())
        table.add_row('all', '', '', '', '', _duration(total))
        table.caption = (
            f'from {start.name if start else "nothing"}; "from epoch": of architecture steps; '
            f's a step: without / with one{"; retraining and testing follow" if retrain else ""}'
        )
        Console().print(table)

    def _show_summary(self, found: Architecture) -> None:
        work_dir = self.work_dir
        lines = [f'{level}: {_duration(s)}' for level, s in self.seconds.items()]
        print(f'\nsearch done ({", ".join(lines) or "nothing was left to do"})')
        for key in ('path', 'nodes', 'edges'):
            value = getattr(found, key, None)
            if value:
                shown = '-'.join(map(str, value)) if key == 'path' else len(value)
                print(f'  {key}: {shown}')
        print(f'  {self._result(found.level)}')
        if found.level == 'cell':
            print(f'  train it:    python tools/train.py {work_dir / "retrain.py"}')
        print(f'  look at it:  python tools/analysis_tools/plot_search.py {work_dir}')


class _Progress(Hook):
    """Says after every epoch how long the stage and the whole search will take."""

    def __init__(self, level: str, cost: _Cost, later: float) -> None:
        self.level, self.cost, self.later = level, cost, later

    def before_train(self, runner) -> None:
        self.began, self.first = time.monotonic(), runner.epoch

    def after_train_epoch(self, runner) -> None:
        if not is_main_process():
            return
        expected = self.cost.seconds(self.first) - self.cost.seconds(runner.epoch + 1)
        pace = (time.monotonic() - self.began) / max(expected, 1e-9)
        stage = pace * self.cost.seconds(runner.epoch + 1)
        runner.logger.info(
            f'stage {self.level}, epoch {runner.epoch + 1} of {self.cost.epochs}: '
            f'{_duration(stage)} left in it, {_duration(stage + pace * self.later)} in all stages'
        )


def _user_config(plan: SearchPlan) -> Config:
    config = load_config(
        plan.config or CONFIGS / SPACES[plan.space].config,
        data_root=plan.data_root,
        options=plan.options,
    )
    config.pop('work_dir')  # each run says its own
    return config


def _own_backbone(plan: SearchPlan, config: Config) -> dict:
    """What supernets and network take over from the user: bands, width, normalisation."""
    width = SPACES[plan.space].width
    keys = ('in_channels', width, 'norm_cfg')
    own = {key: config.model.backbone[key] for key in keys if key in config.model.backbone}
    return own if plan.base_channels is None else {**own, width: plan.base_channels}


def _set_crop(dataset: dict, crop: int) -> None:
    """Crop squares; where the pipeline does not crop yet, behind the loading of the labels."""
    pipeline = dataset.pipeline
    step = next((step for step in pipeline if step['type'] == 'RandomCrop'), None)
    if step is None:
        after = [i for i, step in enumerate(pipeline) if 'Annotations' in step['type']]
        step = dict(type='RandomCrop')
        pipeline.insert(after[-1] + 1 if after else 1, step)
    step['crop_size'] = (crop, crop)


def _image_size(dataset) -> tuple[int, int]:
    return tuple(dataset[0]['inputs'].shape[-2:])


def _probe(
    model_config: dict, batch: int, size: tuple[int, int], classes: int
) -> tuple[float, float]:
    """Seconds of a weight step, and of one with an architecture step behind it."""
    model = MODELS.build(model_config).to(get_device()).train()
    weights = [p for p in model.parameters() if p.requires_grad]
    architecture = list(model.backbone.architecture_parameters().values())
    bands = model.backbone.in_channels
    data = dict(
        inputs=[torch.randint(0, 255, (bands, *size), dtype=torch.uint8) for _ in range(batch)],
        data_samples=[
            SegDataSample(gt_sem_seg=PixelData(data=torch.randint(0, classes, (1, *size))))
            for _ in range(batch)
        ],
    )

    def seconds(parameters: list, others: list) -> float:
        for p in parameters:
            p.requires_grad_(True)
        for p in others:
            p.requires_grad_(False)
        began = time.monotonic()
        loss, _ = model.parse_losses(
            model(**model.data_preprocessor(data, training=True), mode='loss')
        )
        torch.autograd.grad(loss, parameters)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.monotonic() - began

    seconds(weights, architecture)  # the first one also sets up
    plain = seconds(weights, architecture)
    return plain, plain + seconds(architecture, weights)


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
