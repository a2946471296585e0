"""Loading of a model by its files, into the engine that runs it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from mmengine.config import Config

from dnas_mmseg.errors import UserError

from .exported import ExportedModel
from .onnx_model import OnnxModel
from .openvino_model import EnginePrecision, OpenVINOModel
from .pretrained import get_pretrained_model
from .scenes import load_segmentor

if TYPE_CHECKING:
    from mmseg.models import BaseSegmentor

Backend = Literal['torch', 'onnxruntime', 'openvino']

_EXPORTED: dict[str, Backend] = {'.onnx': 'onnxruntime', '.xml': 'openvino'}
"""Default engine of exported files, by suffix."""

_CONFIGS = ('.py', '.json', '.yaml', '.yml')
_CHECKPOINTS = ('.pth', '.pt', '.tar')


def default_backend(path: str | os.PathLike) -> Backend:
    """Return the engine for a checkpoint or an exported file, by its suffix."""
    return _EXPORTED.get(Path(path).suffix, 'torch')


def split_model(words: Sequence[str]) -> tuple[str | None, str, list[str]]:
    """Split the words of a command into a model's files and the rest.

    A model is a config and a checkpoint, an exported file alone, or the name of a pretrained model.

    Args:
        words: Words, those of the model first.

    Returns:
        Path of the config, None for an exported file; path of the checkpoint or exported file; and
        the other words.

    Raises:
        UserError: A config has no checkpoint, a checkpoint no config, or there is no such model.

    Example:
        >>> split_model(['model.onnx', 'scene.tif'])
        (None, 'model.onnx', ['scene.tif'])
    """
    first, *rest = words
    suffix = Path(first).suffix
    if suffix in _EXPORTED:
        return None, first, rest
    if suffix in _CONFIGS or '::' in first:
        if not rest:
            raise UserError(f'{first} is a config: its checkpoint is to follow')
        return first, rest[0], rest[1:]
    if suffix in _CHECKPOINTS:
        raise UserError(f'{first} is a checkpoint: its config comes before it')
    model = get_pretrained_model(first)
    return str(model.config), str(model.weights), rest


def load_model(
    checkpoint: str | os.PathLike,
    config: Callable[[], Config] | None,
    *,
    backend: Backend | None = None,
    precision: str | None = None,
    device: str | None = None,
    window: int = 512,
) -> BaseSegmentor | ExportedModel:
    """Load a model into the engine that runs it.

    Args:
        checkpoint: Path of a checkpoint, or of a file that ``dnas export`` wrote.
        config: Function that returns the model's config; None for an exported file.
        backend: Engine; by default that of the file (:func:`default_backend`).
        precision: Precision of the arithmetic; by default float32, or that of the exported file.
            With torch it is the windows' (:class:`dnas_mmseg.mapping.scene.Tiling`).
        device: Device; by default a GPU where there is one.
        window: Side of the windows in pixels, for a checkpoint that OpenVINO runs.

    Raises:
        UserError: The engine does not support the file, the precision or the device.
    """
    backend = backend or default_backend(checkpoint)
    exported = Path(checkpoint).suffix in _EXPORTED
    if config is None and not exported:
        raise UserError(f'{checkpoint} is a checkpoint: its config is missing')
    if backend == 'torch':
        if precision == 'int8':
            raise UserError('--precision int8 needs --backend openvino')
        if exported:
            raise UserError(f'{checkpoint} needs --backend onnxruntime or openvino')
        assert config is not None
        return load_segmentor(config(), checkpoint, device)
    if backend == 'onnxruntime':
        if precision not in (None, 'float32'):
            raise UserError('--precision: onnxruntime runs a model as it was exported')
        return OnnxModel(checkpoint, device)
    if device not in (None, 'cpu'):
        raise UserError(f'--device {device}: OpenVINO runs on the CPU')
    known = {name: name for name in get_args(EnginePrecision)}
    if precision is not None and precision not in known:
        raise UserError(f'--precision {precision}: OpenVINO computes in {", ".join(known)}')
    chosen = None if precision is None else known[precision]
    if exported:
        return OpenVINOModel(checkpoint, chosen)
    assert config is not None
    model = load_segmentor(config(), checkpoint, 'cpu')
    return OpenVINOModel.from_segmentor(model, window, chosen)
