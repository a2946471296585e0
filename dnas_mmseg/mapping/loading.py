"""Load models into their inference engine."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from mmengine.config import Config

from dnas_mmseg.engine.checkpoints import find_checkpoint
from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.errors import UserError
from dnas_mmseg.files import file_states

from .exported import ExportedModel
from .onnx_model import OnnxModel
from .openvino_model import EnginePrecision, OpenVINOModel
from .pretrained import get_pretrained_model
from .segmentor import load_segmentor

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


@dataclass(frozen=True)
class ModelSource:
    """Files and engine of a model, from which any process can load it.

    Attributes:
        checkpoint: Path of a checkpoint or of a work dir, or of a file written by ``dnas export``.
        config: Path or name of the model's config; None for an exported file.
        options: Overrides of the config, see :func:`dnas_mmseg.engine.configs.load_config`.
        backend, precision, device, window: See :func:`load_model`.

    Example:
        >>> source = ModelSource('best.pth', 'config.py', precision='bfloat16')
        >>> model = source.load()  # doctest: +SKIP
    """

    checkpoint: str
    config: str | None = None
    options: dict[str, Any] | None = field(default=None, hash=False)
    backend: Backend | None = None
    precision: str | None = None
    device: str | None = None
    window: int = 512

    def load(self) -> BaseSegmentor | ExportedModel:
        """Load the model; see :func:`load_model`."""
        config = self.config
        return load_model(
            self.checkpoint,
            None if config is None else lambda: load_config(config, options=self.options),
            backend=self.backend,
            precision=self.precision,
            device=self.device,
            window=self.window,
        )

    def resolve(self) -> ModelSource:
        """Return the source with the absolute paths of its files.

        It is the same model in processes with other working directories, and after a training run
        has written another checkpoint to a work dir.

        Raises:
            CheckpointError: The work dir contains no checkpoint.
        """
        config, checkpoint = self.config, os.path.abspath(self.checkpoint)
        if config is not None and os.path.exists(config):
            config = os.path.abspath(config)
        if os.path.isdir(checkpoint):
            checkpoint = os.fspath(find_checkpoint(checkpoint))
        return replace(self, checkpoint=checkpoint, config=config)

    def describe(self) -> dict[str, Any]:
        """Return what identifies the model, as JSON values: settings, size and time of its files.

        Two sources with equal descriptions predict the same maps, unless a base of the config
        changes.

        Raises:
            CheckpointError: The work dir contains no checkpoint.
        """
        source = self.resolve()
        found = [path for path in (source.checkpoint, source.config) if path]
        files = file_states(path for path in found if os.path.isfile(path))
        return {**json.loads(json.dumps(asdict(source), default=str)), 'files': files}
