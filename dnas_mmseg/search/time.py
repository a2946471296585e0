"""Estimated duration of a search: from timed steps before it, and from its pace while it runs."""

from __future__ import annotations

from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from mmengine.device import get_device
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from dnas_mmseg.cost.measuring import seconds_of
from dnas_mmseg.engine.data_checks import check_training
from dnas_mmseg.models import place
from dnas_mmseg.runs.durations import duration
from dnas_mmseg.spaces.registry import SPACES
from dnas_mmseg.spaces.supernet import architecture_gradients

from .hook import ARCH_START, architecture_start
from .plan import SearchPlan
from .stages import random_architecture, search_hook, stage_config

if TYPE_CHECKING:
    from mmseg.models import BaseSegmentor


class StageTime(NamedTuple):
    """Estimated time of a stage.

    Attributes:
        plain: Seconds of an iteration without an architecture step.
        searching: Seconds of an iteration with one.
        iterations: Number of iterations per epoch.
        epochs: Number of epochs.
        arch_start: First epoch with architecture steps, counted from 0.
    """

    plain: float
    searching: float
    iterations: int
    epochs: int
    arch_start: int

    def seconds(self, epochs_done: int = 0) -> float:
        """Return the time of the remaining epochs, in seconds."""
        left = range(epochs_done, self.epochs)
        searching = sum(epoch >= self.arch_start for epoch in left)
        return self.iterations * (searching * self.searching + (len(left) - searching) * self.plain)


def stage_time(plan: SearchPlan, level: str) -> StageTime:
    """Time an iteration of a stage on random data; later stages start from a random network.

    Raises:
        UserError: The stage cannot be trained on its data.
    """
    before = SPACES[plan.space].before(level)
    start = None
    if before:
        start = random_architecture(plan, np.random.default_rng(0), 'random').at_level(before)
    config = stage_config(plan, level, start)
    loader = Runner.build_dataloader(config.train_dataloader, seed=0)
    dataset: Any = loader.dataset
    epochs = config.train_cfg.max_epochs
    arch_start = search_hook(config).get('arch_start', ARCH_START)
    size = tuple(dataset[0]['inputs'].shape[-2:])
    model = MODELS.build(config.model)
    check_training(model, loader)
    batch = config.train_dataloader.batch_size
    plain, searching = _probe(model, batch, size, len(dataset.metainfo['classes']))
    return StageTime(
        plain,
        searching,
        len(loader),
        epochs,
        architecture_start(arch_start, epochs),
    )


class ProgressHook(Hook):
    """Log the remaining time of the stage and of the whole search after every epoch.

    Args:
        level: Level of the stage.
        time: Estimated time of the stage.
        later: Estimated time of the later stages, in seconds.
    """

    def __init__(self, level: str, time: StageTime, later: float) -> None:
        self.level, self.time, self.later = level, time, later

    def before_train(self, runner) -> None:
        self.began, self.first = monotonic(), runner.epoch

    def after_train_epoch(self, runner) -> None:
        if not is_main_process():
            return
        expected = self.time.seconds(self.first) - self.time.seconds(runner.epoch + 1)
        pace = (monotonic() - self.began) / max(expected, 1e-9)
        stage = pace * self.time.seconds(runner.epoch + 1)
        runner.logger.info(
            f'stage {self.level}, epoch {runner.epoch + 1} of {self.time.epochs}: '
            f'{duration(stage)} left in this stage, '
            f'{duration(stage + pace * self.later)} in all stages'
        )


def noise_batch(
    preprocessor: torch.nn.Module, batch: int, bands: int, size: tuple[int, int], classes: int
) -> dict[str, Any]:
    """Return a batch of random images and labels, in the format of a data loader.

    Args:
        preprocessor: Data preprocessor of the model; the samples have its mean and std.
        batch: Number of images.
        bands: Number of bands.
        size: Height and width of the images, in pixels.
        classes: Number of classes.
    """
    mean, std = (getattr(preprocessor, name, None) for name in ('mean', 'std'))
    shift, scale = (128.0, 64.0) if mean is None or std is None else (mean.cpu(), std.cpu())
    return dict(
        inputs=[shift + scale * torch.randn(bands, *size) for _ in range(batch)],
        data_samples=[
            SegDataSample(gt_sem_seg=PixelData(data=torch.randint(0, classes, (1, *size))))
            for _ in range(batch)
        ],
    )


def _probe(
    model: BaseSegmentor, batch: int, size: tuple[int, int], classes: int
) -> tuple[float, float]:
    """Return the seconds of a weight step, and of a weight and an architecture step."""
    model = place(model, get_device()).train()
    weights = [p for p in model.parameters() if p.requires_grad]
    architecture = list(model.backbone.architecture_parameters().values())
    bands = model.backbone.in_channels
    data = noise_batch(model.data_preprocessor, batch, bands, size, classes)

    def step(parameters: list) -> None:
        kind = 'weights' if parameters is weights else 'architecture'
        model.backbone.sample(kind, True, np.random.default_rng(0))
        loss, _ = model.parse_losses(
            model(**model.data_preprocessor(data, training=True), mode='loss')
        )
        torch.autograd.grad(loss, parameters, allow_unused=True)

    def seconds(parameters: list) -> float:
        return seconds_of(partial(step, parameters), get_device())

    seconds(weights)  # warm-up
    plain = seconds(weights)
    with architecture_gradients(model, architecture):
        return plain, plain + seconds(architecture)
