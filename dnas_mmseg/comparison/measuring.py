"""Measurement of models side by side: their cost, speed and scores."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from dnas_mmseg.cost.counting import Complexity, count, count_by_modules
from dnas_mmseg.cost.measuring import peak_memory, seconds_of
from dnas_mmseg.cost.parts import input_bands
from dnas_mmseg.engine.checkpoints import load_exactly, load_weights
from dnas_mmseg.engine.running import test
from dnas_mmseg.errors import UserError
from dnas_mmseg.models import switch_to_deploy
from dnas_mmseg.spaces.registry import SPACES


@dataclass(frozen=True)
class Entry:
    """A model to be compared.

    Attributes:
        name: Name of the model.
        config: Config of the model.
        checkpoint: Path of its weights, where scores are wanted.
    """

    name: str
    config: Config
    checkpoint: str | None = None


@dataclass(frozen=True)
class Measurement:
    """Measurements of a model; None or empty where something was not measured.

    Attributes:
        name: Name of the model.
        cost: Numbers of parameters and multiply-adds, and bytes of activations, without auxiliary
            heads.
        latency: Seconds of each run of inference, from normalised images to logits; every model in
            the form that predicts fastest (:func:`dnas_mmseg.models.switch_to_deploy`).
        memory: Peak memory of inference above what the model takes, in bytes.
        step: Seconds of each training step (forward, loss with auxiliary heads, backward).
        step_memory: Peak memory of a training step above what the model takes, in bytes.
        scores: Scores on the test set by name, in percent.
        notes: Failures, a sentence each.
    """

    name: str
    cost: Complexity | None = None
    latency: tuple[float, ...] = ()
    memory: int | None = None
    step: tuple[float, ...] = ()
    step_memory: int | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def build_segmentor(config: Config, bands: int | None = None) -> tuple[nn.Module, int]:
    """Return a segmentor on the CPU, in evaluation mode, and its number of bands.

    Args:
        config: Config of any model of mmseg.
        bands: Number of bands to build it for; by default the config's.

    Raises:
        UserError: The model cannot be built.
    """
    init_default_scope(config.get('default_scope', 'mmseg'))
    model_config = copy.deepcopy(config.model)
    if bands is not None:
        model_config.backbone.in_channels = bands
    try:
        model = revert_sync_batchnorm(MODELS.build(model_config))
    except Exception as error:
        kind = model_config.backbone.get('type')
        raise UserError(f'a model on {kind} cannot be built ({_reason(error)})') from None
    taken = input_bands(model.backbone)
    if bands is not None and taken != bands:
        raise UserError(
            f'{type(model.backbone).__name__} takes no in_channels: set its bands in the config'
        )
    return model.eval(), taken


def complexity(
    config: Config, size: tuple[int, int], bands: int | None = None, paper: bool = False
) -> Complexity:
    """Count a config's model on one image.

    Args:
        config: Config of any model of mmseg.
        size: Height and width of the image, in pixels.
        bands: Number of bands, see :func:`build_segmentor`.
        paper: Whether to count by the rules behind the DNAS paper's table: leaf modules that are
            executed, and of a searched network what its space's paper counted.

    Raises:
        UserError: The model cannot be built, or not run at this size.
    """
    config = copy.deepcopy(config)
    config.model.pop('auxiliary_head', None)
    if paper:
        for space in SPACES.values():
            if space.network == config.model.backbone.type:
                config.model.backbone.update(space.paper_overrides)
    model, bands = build_segmentor(config, bands)
    counting = count_by_modules if paper else count
    try:
        return counting(model, model, (1, bands, *size))
    except Exception as error:
        raise UserError(
            f'{type(model.backbone).__name__} cannot run on images of {size[0]} x {size[1]} '
            f'({_reason(error)})'
        ) from None


def compare(
    entries: Sequence[Entry],
    *,
    size: tuple[int, int] = (512, 512),
    batch: int = 1,
    repeat: int = 10,
    training: bool = True,
    device: str = 'cpu',
    out_dir: str = 'comparison',
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> list[Measurement]:
    """Measure models side by side, in turns, so that what slows the machine slows all of them.

    Args:
        entries: Models to measure.
        size: Height and width of the images, in pixels.
        batch: Number of images at once; a training step takes at least two, which stock heads need.
        repeat: Number of runs that count, after one or two that warm up.
        training: Whether training steps are measured.
        device: Device that the models run on.
        out_dir: Folder of the logs of test runs.
        advance: Function that is called with the number of turns done and of all.

    Returns:
        Measurement of each entry; failures are in its notes.

    Raises:
        UserError: Two entries have one name, or a checkpoint is not of its config's model.
    """
    names = [entry.name for entry in entries]
    if len(set(names)) < len(names):
        raise UserError(f'models need names of their own, these are {", ".join(names)}')
    baselines = [_MeasuredModel(entry, size, batch, device) for entry in entries]
    total = 3 + repeat + (2 + max(1, repeat // 3) if training else 0) + 1
    done = 0

    def take(turns: Iterable[_Turn]) -> None:
        nonlocal done
        for turn in turns:
            for baseline in baselines:
                baseline.run(turn)
            done += 1
            advance(done, total)

    warm_up = _Turn(warm_up=True)
    take([warm_up, _Turn(memory=True), warm_up, *[_Turn()] * repeat])
    if training:
        step = _Turn(training=True)
        take([step._replace(memory=True), step._replace(warm_up=True)])
        take([step] * max(1, repeat // 3))
    for baseline in baselines:
        baseline.close()
    results = [_score(baseline, out_dir) for baseline in baselines]
    advance(total, total)
    return results


class _Turn(NamedTuple):
    """One turn of a model, before the next model takes it.

    Attributes:
        training: Whether it is a training step, else a prediction.
        memory: Whether its memory is measured, else its time.
        warm_up: Whether the measurement is discarded.
    """

    training: bool = False
    memory: bool = False
    warm_up: bool = False


class _MeasuredModel:
    """A model that takes its turns."""

    # None after close().
    model: Any
    deployed: Any
    images: Any
    several: Any

    def __init__(self, entry: Entry, size: tuple[int, int], batch: int, device: str) -> None:
        self.entry, self.device, self.size = entry, device, size
        self.result = Measurement(entry.name)
        self.failed = False
        try:
            self.model, bands = build_segmentor(entry.config)
        except UserError as error:
            self.fail(str(error))
            return
        try:
            self.result = replace(self.result, cost=complexity(entry.config, size))
        except UserError as error:
            self.note(f'not counted: {error}')
        if entry.checkpoint is not None:
            load_exactly(self.model, load_weights(entry.checkpoint), entry.checkpoint)
        self.model.to(device)
        self.deployed = switch_to_deploy(copy.deepcopy(self.model))
        self.images = torch.randn(batch, bands, *size, device=device)
        self.several = self.images if batch > 1 else self.images.repeat(2, 1, 1, 1)

    def run(self, turn: _Turn) -> None:
        """Take a turn, unless an earlier one failed."""
        if self.failed:
            return
        call = self._step if turn.training else self._infer
        try:
            if turn.memory:
                key = 'step_memory' if turn.training else 'memory'
                measured: Any = peak_memory(call, self.device)
            else:
                key = 'step' if turn.training else 'latency'
                measured = (*getattr(self.result, key), seconds_of(call, self.device))
        except Exception as error:
            self.fail(f'{"training" if turn.training else "prediction"}: {_reason(error)}')
            return
        if not turn.warm_up:
            self.result = replace(self.result, **{key: measured})

    def fail(self, text: str) -> None:
        """Note the reason why there will be no more turns."""
        self.failed = True
        self.note(text)

    def note(self, text: str) -> None:
        self.result = replace(self.result, notes=(*self.result.notes, text))

    def close(self) -> None:
        """Free the memory of the model and its images."""
        self.model = self.deployed = self.images = self.several = None

    @torch.no_grad()
    def _infer(self) -> Tensor:
        shape = dict(img_shape=self.size, ori_shape=self.size, pad_shape=self.size)
        return self.deployed.encode_decode(self.images, [shape] * len(self.images))

    def _step(self) -> None:
        self.model.train()
        label = torch.zeros(1, *self.size, dtype=torch.long, device=self.device)
        samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for _ in self.several]
        loss, _ = self.model.parse_losses(self.model.loss(self.several, samples))
        loss.backward()
        self.model.zero_grad(set_to_none=True)


def _score(baseline: _MeasuredModel, out_dir: str) -> Measurement:
    """Return the measurement with scores, if there is a checkpoint to test."""
    entry = baseline.entry
    if entry.checkpoint is None:
        return baseline.result
    config = copy.deepcopy(entry.config)
    config.work_dir = str(Path(out_dir) / 'test' / entry.name)
    config.experiment_name = config.visualizer.name = f'{entry.name}_{time.time_ns()}'
    try:
        baseline.result = replace(baseline.result, scores=test(config, entry.checkpoint))
    except Exception as error:  # what was measured is not to be lost
        baseline.note(f'not tested: {error if isinstance(error, UserError) else _reason(error)}')
    return baseline.result


def _reason(error: Exception) -> str:
    """Return an exception as one line."""
    return ': '.join([type(error).__name__, *str(error).splitlines()[:1]])
