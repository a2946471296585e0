"""Measurement of the cost, speed and scores of models under the same conditions."""

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
from dnas_mmseg.engine.checkpoints import load_exactly, load_weights
from dnas_mmseg.engine.running import test
from dnas_mmseg.errors import UserError
from dnas_mmseg.models import place, switch_to_deploy
from dnas_mmseg.models.layers.input_bands import count_input_bands
from dnas_mmseg.spaces.registry import SPACES


@dataclass(frozen=True)
class Entry:
    """Model to compare.

    Attributes:
        name: Unique name of the model.
        config: Config of the model.
        checkpoint: Path of its weights; None skips the test.
    """

    name: str
    config: Config
    checkpoint: str | None = None


@dataclass(frozen=True)
class Measurement:
    """Measurements of a model; None or empty if not measured.

    Attributes:
        name: Name of the model.
        cost: Parameters, multiply-adds and bytes of activations, without auxiliary heads.
        latency: Seconds of each inference run, from normalised images to logits, in deployed form
            (:func:`dnas_mmseg.models.switch_to_deploy`).
        memory: Peak memory of inference in addition to the model, in bytes.
        step: Seconds of each training step (forward, loss with auxiliary heads, backward).
        step_memory: Peak memory of a training step in addition to the model, in bytes.
        scores: Test scores by name, in percent.
        notes: Error messages of failed measurements.
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
    """Build a segmentor on the CPU in evaluation mode, and return its number of bands.

    Args:
        config: Config of any mmseg model.
        bands: Number of input bands; defaults to the config's.

    Raises:
        UserError: The model cannot be built.
    """
    init_default_scope(config.get('default_scope', 'mmseg'))
    model_config = copy.deepcopy(config.model)
    if bands is not None:
        if 'backbone' not in model_config:
            raise UserError(
                f'{model_config.type} has no backbone: its number of bands cannot be replaced'
            )
        model_config.backbone.in_channels = bands
    try:
        model = revert_sync_batchnorm(MODELS.build(model_config))
    except Exception as error:
        part = model_config.get('backbone')
        kind = f'model with backbone {part.type}' if part else f'model {model_config.type}'
        raise UserError(f'the {kind} cannot be built ({_reason(error)})') from None
    built_for = count_input_bands(model.backbone)
    if bands is not None and built_for != bands:
        raise UserError(
            f'{type(model.backbone).__name__} has no argument in_channels: set its number of bands '
            'in the config'
        )
    return model.eval(), built_for


def complexity(
    config: Config, size: tuple[int, int], bands: int | None = None, paper: bool = False
) -> Complexity:
    """Count parameters, multiply-adds and activations of a config's model on one image.

    Auxiliary heads are not counted.

    Args:
        config: Config of any mmseg model.
        size: Height and width of the image, in pixels.
        bands: Number of bands, see :func:`build_segmentor`.
        paper: Whether to count like the table of the DNAS paper: executed leaf modules only, and
            for a searched network the parts that the paper of its space counted.

    Raises:
        UserError: The model cannot be built, or cannot run on images of this size.
    """
    config = copy.deepcopy(config)
    config.model.pop('auxiliary_head', None)
    if paper and 'backbone' in config.model:
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
    """Measure models in alternating rounds, so that other load on the machine affects all alike.

    Args:
        entries: Models to measure.
        size: Height and width of the images, in pixels.
        batch: Batch size; a training step uses at least two images, which stock heads require.
        repeat: Number of measured runs, after one or two warm-up runs.
        training: Whether to measure training steps.
        device: Device of the models.
        out_dir: Folder for the logs of test runs.
        advance: Progress callback, called with the numbers of completed and of all rounds.

    Returns:
        Measurement of each entry; its notes report failures.

    Raises:
        UserError: Names are not unique, or a checkpoint does not fit the model of its config.
    """
    names = [entry.name for entry in entries]
    if len(set(names)) < len(names):
        raise UserError(f'names of models must be unique: {", ".join(names)}')
    models = [_MeasuredModel(entry, size, batch, device) for entry in entries]
    total = 3 + repeat + (2 + max(1, repeat // 3) if training else 0) + 1
    done = 0

    def run(rounds: Iterable[_Round]) -> None:
        nonlocal done
        for round_ in rounds:
            for model in models:
                model.run(round_)
            done += 1
            advance(done, total)

    warm_up = _Round(warm_up=True)
    run([warm_up, _Round(memory=True), warm_up, *[_Round()] * repeat])
    if training:
        step = _Round(training=True)
        run([step._replace(memory=True), step._replace(warm_up=True)])
        run([step] * max(1, repeat // 3))
    for model in models:
        model.close()
    results = [_score(model, out_dir) for model in models]
    advance(total, total)
    return results


class _Round(NamedTuple):
    """One measurement of each model.

    Attributes:
        training: Whether to run a training step instead of a prediction.
        memory: Whether to measure memory instead of time.
        warm_up: Whether to discard the measurement.
    """

    training: bool = False
    memory: bool = False
    warm_up: bool = False


class _MeasuredModel:
    """Model with its inputs and its measurements so far."""

    # None after close().
    model: Any
    deployed: Any
    images: Any
    training_images: Any

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
        place(self.model, device)
        self.deployed = place(switch_to_deploy(copy.deepcopy(self.model)), device)
        self.images = torch.randn(batch, bands, *size, device=device)
        self.training_images = self.images if batch > 1 else self.images.repeat(2, 1, 1, 1)

    def run(self, round_: _Round) -> None:
        """Run a measurement, unless an earlier one failed."""
        if self.failed:
            return
        call = self._step if round_.training else self._infer
        try:
            if round_.memory:
                key = 'step_memory' if round_.training else 'memory'
                measured: Any = peak_memory(call, self.device)
            else:
                key = 'step' if round_.training else 'latency'
                measured = (*getattr(self.result, key), seconds_of(call, self.device))
        except Exception as error:
            self.fail(f'{"training" if round_.training else "prediction"}: {_reason(error)}')
            return
        if not round_.warm_up:
            self.result = replace(self.result, **{key: measured})

    def fail(self, text: str) -> None:
        """Record a failure and skip all further measurements."""
        self.failed = True
        self.note(text)

    def note(self, text: str) -> None:
        self.result = replace(self.result, notes=(*self.result.notes, text))

    def close(self) -> None:
        """Free the memory of the model and its images."""
        self.model = self.deployed = self.images = self.training_images = None

    @torch.no_grad()
    def _infer(self) -> Tensor:
        shape = dict(img_shape=self.size, ori_shape=self.size, pad_shape=self.size)
        return self.deployed.encode_decode(self.images, [shape] * len(self.images))

    def _step(self) -> None:
        self.model.train()
        label = torch.zeros(1, *self.size, dtype=torch.long, device=self.device)
        samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for _ in self.training_images]
        loss, _ = self.model.parse_losses(self.model.loss(self.training_images, samples))
        loss.backward()
        self.model.zero_grad(set_to_none=True)


def _score(model: _MeasuredModel, out_dir: str) -> Measurement:
    """Test the model's checkpoint, if it has one, and return the completed measurement."""
    entry = model.entry
    if entry.checkpoint is None:
        return model.result
    config = copy.deepcopy(entry.config)
    config.work_dir = str(Path(out_dir) / 'test' / entry.name)
    config.experiment_name = f'{entry.name}_{time.time_ns()}'
    if config.get('visualizer'):
        config.visualizer.name = config.experiment_name
    try:
        model.result = replace(model.result, scores=test(config, entry.checkpoint))
    except Exception as error:  # keep the measurements
        model.note(f'not tested: {error if isinstance(error, UserError) else _reason(error)}')
    return model.result


def _reason(error: Exception) -> str:
    """Return an exception's type and the first line of its message."""
    return ': '.join([type(error).__name__, *str(error).splitlines()[:1]])
