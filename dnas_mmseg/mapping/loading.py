"""Load models into their inference engine."""

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
    """Return the default engine of a checkpoint or an exported file, selected by its suffix."""
    return _EXPORTED.get(Path(path).suffix, 'torch')


def split_model(words: Sequence[str]) -> tuple[str | None, str, list[str]]:
    """Split command-line words into the files of a model and the remaining words.

    A model is a config and a checkpoint, an exported file, or the name of a pretrained model.

    Args:
        words: Words that start with the model.

    Returns:
        Path of the config, None for an exported file; path of the checkpoint or exported file; and
        the remaining words.

    Raises:
        UserError: A config lacks its checkpoint, a checkpoint lacks its config, or the name is
            unknown.

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
            raise UserError(f'{first} is a config: add its checkpoint after it')
        return first, rest[0], rest[1:]
    if suffix in _CHECKPOINTS:
        raise UserError(f'{first} is a checkpoint: put its config before it')
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
    """Load a model into its inference engine.

    Args:
        checkpoint: Path of a checkpoint, or of a file written by ``dnas export``.
        config: Function that returns the model's config; None for an exported file.
        backend: Engine; defaults to :func:`default_backend` of the file.
        precision: Precision of inference; defaults to float32, or to that of the exported file.
            For torch, set it in :class:`dnas_mmseg.mapping.scene.Tiling` instead.
        device: Device; defaults to a GPU if one is available.
        window: Side of the windows in pixels, for a checkpoint with OpenVINO.

    Raises:
        UserError: The engine does not support the file, the precision or the device.
    """
    backend = backend or default_backend(checkpoint)
    exported = Path(checkpoint).suffix in _EXPORTED
    if config is None and not exported:
        raise UserError(f'{checkpoint} is a checkpoint: a config is required')
    if backend == 'torch':
        if precision == 'int8':
            raise UserError('--precision int8 requires --backend openvino')
        if exported:
            raise UserError(f'{checkpoint} requires --backend onnxruntime or openvino')
        assert config is not None
        return load_segmentor(config(), checkpoint, device)
    if backend == 'onnxruntime':
        if precision not in (None, 'float32'):
            raise UserError(
                '--precision: onnxruntime supports only the precision of the exported file'
            )
        return OnnxModel(checkpoint, device)
    if device not in (None, 'cpu'):
        raise UserError(f'--device {device}: the OpenVINO backend supports only the CPU')
    known = {name: name for name in get_args(EnginePrecision)}
    if precision is not None and precision not in known:
        raise UserError(f'--precision {precision}: OpenVINO supports {", ".join(known)}')
    chosen = None if precision is None else known[precision]
    if exported:
        return OpenVINOModel(checkpoint, chosen)
    assert config is not None
    model = load_segmentor(config(), checkpoint, 'cpu')
    return OpenVINOModel.from_segmentor(model, window, chosen)
