"""Length of a training: its schedule, scaled to a number of epochs or to hours."""

from __future__ import annotations

import copy
import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import get_world_size
from mmengine.logging import MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import HOOKS, MODELS
from torch.utils.data import DataLoader

from dnas_mmseg.errors import UserError
from dnas_mmseg.files import lock_folder, write_json
from dnas_mmseg.models import place
from dnas_mmseg.work_dir import LENGTH_FILE

from .config_checks import check_mixed_precision
from .config_parts import check_single_step, list_schedulers, type_name
from .config_validation import validate_config
from .data_checks import check_training
from .loaders import stop_loader

_SCALED = (
    'begin', 'end', 'T_max', 'total_iters', 'total_steps', 'step_size', 'milestones', 'periods',
)  # fmt: skip
"""Arguments of parameter schedulers that count epochs or iterations."""

_WARM_UP = 3
"""Number of steps before the timed ones, which fill caches and compile; CUDA graphs are recorded in
the second and third one."""

_STEPS = 6
"""Number of timed steps; their median is within a few percent of that of a hundred."""

_STARTS = 3
"""Number of timed starts of the worker processes."""

_START = 10.0
"""Seconds for building and saving, which are not timed."""

_CHECKPOINT_SECONDS = 60.0
"""Seconds between checkpoints. With few tiles an epoch takes less time than a checkpoint."""

_VALIDATION_SHARE = 0.1
"""Largest share of the time for validations; a tenth keeps a dozen points of a curve affordable."""


def full_epochs(config: Config) -> int:
    """Return the number of epochs of a config's schedule.

    Raises:
        UserError: The schedule is counted in iterations.
    """
    loop = config.get('train_cfg') or {}
    if not loop.get('max_epochs'):
        raise UserError(
            'a schedule in epochs is required, but train_cfg has no max_epochs: use an '
            'EpochBasedTrainLoop, as in configs/_base_/schedules'
        )
    return loop['max_epochs']


def scale_schedule(config: Config, epochs: int) -> None:
    """Scale the schedule of a config to a number of epochs, with one validation at its end.

    All milestones and warm-up lengths are scaled by the same factor. Parts of the schedule that
    become too short to change a value are dropped, such as a warm-up of less than two steps.

    Args:
        config: Config, modified in place.
        epochs: New number of epochs; it may be more than before.
    """
    factor = epochs / full_epochs(config)
    config.train_cfg.max_epochs = epochs
    config.train_cfg.val_interval = epochs
    config.train_cfg.pop('val_begin', None)
    config.train_cfg.pop('dynamic_intervals', None)
    schedulers = list_schedulers(config)
    for scheduler in schedulers:
        for key in _SCALED:
            if scheduler.get(key):
                # A part that begins later may begin at once in a short training.
                least = 0 if key == 'begin' else 1
                scheduler[key] = _scaled(scheduler[key], factor, least)
        if type_name(scheduler).startswith('Exponential') and scheduler.get('gamma'):
            scheduler['gamma'] **= 1 / factor  # of one epoch or iteration
    kept = [scheduler for scheduler in schedulers if _takes_effect(scheduler, epochs)]
    if len(kept) < len(schedulers):  # else a single one stays one: checkpoints know it as such
        config.param_scheduler = kept


def _scaled(value: Any, factor: float, least: int) -> Any:
    if isinstance(value, (list, tuple)):
        return [_scaled(item, factor, least) for item in value]
    return max(least, round(value * factor)) if math.isfinite(value) else value


def _takes_effect(scheduler: Mapping[str, Any], epochs: int) -> bool:
    """Return whether mmengine's scheduler of this length reaches its last value.

    A linear or constant one of a single step would stay at its first value instead.
    """
    in_epochs = scheduler.get('by_epoch', True)
    end = min(scheduler.get('end', math.inf), epochs if in_epochs else math.inf)
    is_ramp = type_name(scheduler).startswith(('Linear', 'Constant'))
    is_converted = scheduler.get('convert_to_iter_based', False)
    return end - scheduler.get('begin', 0) >= (2 if is_ramp and not is_converted else 1)


@dataclass(frozen=True)
class TrainingTimes:
    """Measured times of a training, in seconds.

    Attributes:
        iteration: Seconds of an iteration, loading included.
        iterations: Number of iterations per epoch.
        validation: Seconds of a validation; 0 without one.
        first: Seconds by which the first steps take longer, mostly to compile them.
        start: Seconds until the worker processes of an epoch have loaded its first batch.
    """

    iteration: float
    iterations: int
    validation: float
    first: float = 0.0
    start: float = 0.0

    @property
    def epoch(self) -> float:
        """Seconds of an epoch."""
        return self.start + self.iteration * self.iterations


def measure_times(config: Config) -> TrainingTimes:
    """Time a few iterations and predictions of a training on its own tiles.

    On a CPU with one thread it is CPU time, which other programs on the machine do not lengthen.
    Steps are compiled if those of the training are (:class:`CompileHook`).

    Args:
        config: Config of the training.

    Raises:
        UserError: The config cannot work, or the training set does not fill a batch.
    """
    init_default_scope(config.get('default_scope', 'mmseg'))
    check_mixed_precision(config)
    validate_config(config)
    device = get_device()
    model = place(revert_sync_batchnorm(MODELS.build(config.model)), device)
    logging.disable(logging.INFO)  # lines per parameter
    try:
        model.init_weights()  # raises if weights cannot be loaded
        optimizer = build_optim_wrapper(model, copy.deepcopy(config.optim_wrapper))
    finally:
        logging.disable(logging.NOTSET)
    loader = Runner.build_dataloader(config.train_dataloader, seed=0)
    check_training(model, loader)
    one_thread = device == 'cpu' and torch.get_num_threads() == 1
    clock = time.process_time if one_thread else time.perf_counter
    batch = loader.batch_size or 1
    indices = [i % len(loader.dataset) for i in range((_WARM_UP + _STEPS) * batch)]
    batches: list[Any] = []

    def load() -> None:
        chosen = indices[len(batches) * batch : (len(batches) + 1) * batch]
        batches.append(loader.collate_fn([loader.dataset[i] for i in chosen]))

    def step() -> None:
        with optimizer.optim_context(model):
            data = model.data_preprocessor(batches[0], True)
            loss, _ = model.parse_losses(model(**data, mode='loss'))
        optimizer.update_params(loss)
        batches.append(batches.pop(0))

    loading = _time(load, clock).median
    model.train()
    hooks = _compile_hooks(config)
    for hook in hooks:
        hook.compile(model, MMLogger.get_current_instance())
    computing, first = _time(step, clock)
    for hook in hooks:
        hook.restore()
    workers = loader.num_workers
    iteration = max(computing, loading / workers) if workers else computing + loading
    validation = 0.0
    if config.get('val_cfg') and config.get('val_dataloader'):
        val = Runner.build_dataloader(config.val_dataloader, seed=0)
        model.eval()

        def predict() -> None:
            with torch.no_grad():
                model.val_step(val.collate_fn([val.dataset[0]]))

        validation = len(val.dataset) * _time(predict, clock).median
        validation += _measure_start(val) if val.num_workers else 0.0
    start = _measure_start(loader) if workers else 0.0
    return TrainingTimes(iteration, len(loader), validation, first, start)


def _measure_start(loader: DataLoader) -> float:
    """Return the seconds until the worker processes of a loader return their first batch."""
    times = []
    for _ in range(_STARTS):
        began = time.perf_counter()
        next(iter(loader))
        times.append(time.perf_counter() - began)
        stop_loader(loader)
    return median(times)


def _compile_hooks(config: Config) -> list[Any]:
    hooks = config.get('custom_hooks') or []
    chosen = [dict(hook) for hook in hooks if type_name(hook) == 'CompileHook']
    for hook in chosen:
        hook.pop('priority', None)  # the runner's
    return list(map(HOOKS.build, chosen))


class _CallTimes(NamedTuple):
    """Times of a repeated call, in seconds.

    Attributes:
        median: Median of the timed calls.
        warm_up: Seconds by which the calls before them took longer, in total.
    """

    median: float
    warm_up: float


def _time(call: Callable[[], None], clock: Callable[[], float]) -> _CallTimes:
    times = []
    for _ in range(_WARM_UP + _STEPS):
        began = clock()
        call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(clock() - began)
    usual = median(times[_WARM_UP:])
    return _CallTimes(usual, max(0.0, sum(times[:_WARM_UP]) - _WARM_UP * usual))


def fit_length(config: Config, hours: float) -> TrainingTimes:
    """Set the length of a training so that it takes some hours.

    Schedules are scaled, validations take at most a tenth of the time, and checkpoints are saved
    once a minute.

    Args:
        config: Config with a schedule in epochs, modified in place.
        hours: Time of the training, validations included.

    Returns:
        Measured times.

    Raises:
        UserError: The hours are not positive, do not suffice for one epoch, the schedule is in
            iterations, or the config is a stage of a search.
    """
    if not 0 < hours < math.inf:
        raise UserError(f'{hours} hours: expected a positive number')
    check_single_step(config, '--hours')
    before, interval = full_epochs(config), config.train_cfg.get('val_interval', 1)
    times = measure_times(config)
    left = 3600 * hours - _START - times.first
    validations = max(1, before // interval) if times.validation else 0
    if times.validation:
        validations = max(1, min(validations, int(_VALIDATION_SHARE * left / times.validation)))
    epochs = int((left - validations * times.validation) / times.epoch)
    if epochs < 1:
        least = (times.epoch + validations * times.validation + _START + times.first) / 3600
        raise UserError(
            f'{hours:g} hours do not suffice for one epoch of {times.iterations} iterations: give '
            f'at least {math.ceil(1000 * least) / 1000:g} hours, or fewer tiles'
        )
    scale_schedule(config, epochs)
    config.train_cfg.val_interval = math.ceil(epochs / max(validations, 1))
    _space_checkpoints(config)
    return times


def _space_checkpoints(config: Config) -> None:
    hook = (config.get('default_hooks') or {}).get('checkpoint') or {}
    if type_name(hook) == 'AtomicCheckpointHook' and get_world_size() == 1:
        hook.setdefault('min_seconds', _CHECKPOINT_SECONDS)


def set_length(config: Config, hours: float, resume: bool) -> str:
    """Set the length of a training by hours, or to that of the training that is resumed.

    Args:
        config: Config with a work dir and a schedule in epochs, modified in place.
        hours: Time of the training.
        resume: Whether the training of the work dir continues, from a checkpoint.

    Returns:
        Sentence on the length.

    Raises:
        UserError: The training that is resumed had other hours; see also :func:`fit_length`.
    """
    path = Path(config.work_dir) / LENGTH_FILE
    if resume and path.is_file():
        stored = json.loads(path.read_text(encoding='utf-8'))
        if hours != stored['hours']:
            raise UserError(
                f'--hours {hours:g}: the training in {config.work_dir} was started with --hours '
                f'{stored["hours"]:g}: resume it with the same, or choose another --work-dir'
            )
        scale_schedule(config, stored['epochs'])
        config.train_cfg.val_interval = stored['val_interval']
        _space_checkpoints(config)
        return f'{stored["hours"]:g} hours: {stored["epochs"]} epochs, as before'
    times = fit_length(config, hours)
    epochs, interval = config.train_cfg.max_epochs, config.train_cfg.val_interval
    with lock_folder(config.work_dir):
        write_json(path, {'hours': hours, 'epochs': epochs, 'val_interval': interval})
    return (
        f'{hours:g} hours: {epochs} epochs of {times.iterations} iterations of '
        f'{times.iteration:.3g} s'
    )
