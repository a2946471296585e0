"""Trained models as ONNX files: export, and mapping of scenes with them."""

from __future__ import annotations

import json
import logging
import os
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from dnas_mmseg.errors import UserError
from dnas_mmseg.files import atomic_path
from dnas_mmseg.models import MultiBandDataPreProcessor

from .windows import binary_threshold

if TYPE_CHECKING:
    from mmseg.models import BaseSegmentor

_INPUT, _OUTPUT = 'samples', 'logits'
_META = 'dnas_mmseg'


def export_onnx(model: BaseSegmentor, path: str | os.PathLike, window: int = 512) -> None:
    """Write a segmentor as ONNX, from samples to logits, normalisation included.

    Height and width are fixed, as heads with pooling pyramids need; the number of windows is free.
    Classes, palette and bands are in the file's metadata.

    Args:
        model: Segmentor of :func:`dnas_mmseg.mapping.scenes.load_segmentor`.
        path: Path of the file; it appears when it is complete.
        window: Side of the windows, in pixels.

    Raises:
        UserError: The packages it needs are missing, or the model normalises in another way.
    """
    if not isinstance(model.data_preprocessor, MultiBandDataPreProcessor):
        raise UserError(
            f'models with {type(model.data_preprocessor).__name__} cannot be exported; '
            'MultiBandDataPreProcessor normalises any number of bands'
        )
    for package in ('onnx', 'onnxscript'):
        _require(package)
    samples = torch.zeros(2, model.data_preprocessor.mean.numel(), window, window)
    samples = samples.to(model.data_preprocessor.mean.device)
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            _WithNormalisation(model).eval(),
            (samples,),
            input_names=[_INPUT],
            output_names=[_OUTPUT],
            dynamic_shapes=({0: torch.export.Dim('windows', min=1, max=4096)},),
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # which it is only without dynamo
    meta = {key: model.dataset_meta.get(key) for key in ('classes', 'palette', 'bands')}
    meta['threshold'] = binary_threshold(model)
    program.model.metadata_props[_META] = json.dumps(meta)
    with atomic_path(path) as temporary:
        program.save(str(temporary))


class OnnxModel:
    """Exported model, run by onnxruntime; a :class:`dnas_mmseg.mapping.windows.WindowModel`.

    Args:
        path: Path of a file of :func:`export_onnx`.
        device: Device, ``'cpu'``, ``'cuda'`` or ``'cuda:1'``; by default a GPU where onnxruntime
            has one.

    Attributes:
        dataset_meta: Classes, palette and bands.
        num_bands: Number of bands that it takes.
        threshold: Threshold of a binary head, see :class:`dnas_mmseg.mapping.windows.WindowModel`.
        window: Side of the windows that it takes, in pixels; smaller windows are filled up with the
            bands' means.

    Raises:
        UserError: onnxruntime is missing, or the file is not one that ``tools/export.py`` wrote.
    """

    def __init__(self, path: str | os.PathLike, device: str | None = None) -> None:
        runtime = _require('onnxruntime')
        gpu = 'CUDAExecutionProvider'
        has_gpu = gpu in runtime.get_available_providers()
        kind, _, index = (device or ('cuda' if has_gpu else 'cpu')).partition(':')
        if kind not in ('cpu', 'cuda') or (kind == 'cuda' and not has_gpu):
            raise UserError(f'device {device}: this onnxruntime runs on cpu{", cuda" * has_gpu}')
        providers: list = ['CPUExecutionProvider']
        if kind == 'cuda':
            number = int(index or os.environ.get('LOCAL_RANK', '0'))
            providers.insert(0, (gpu, {'device_id': number}))
        if not os.path.isfile(path):
            raise UserError(f'{path}: no such file')
        try:
            self._session = runtime.InferenceSession(os.fspath(path), providers=providers)
            self.dataset_meta = json.loads(self._session.get_modelmeta().custom_metadata_map[_META])
        except Exception as error:
            raise UserError(
                f'{path} is no model that tools/export.py wrote ({type(error).__name__}: {error})'
            ) from None
        self.threshold = self.dataset_meta.pop('threshold', None)
        _, self.num_bands, self.window, _ = self._session.get_inputs()[0].shape

    def logits(self, images: list[Tensor]) -> np.ndarray:
        """Map windows as :class:`dnas_mmseg.mapping.windows.WindowModel` does.

        Raises:
            UserError: The windows are larger than the model's.
        """
        height, width = images[0].shape[1:]
        if max(height, width) > self.window:
            raise UserError(
                f'windows of {height} x {width}, but the model was exported for {self.window} x '
                f'{self.window}: give --window {self.window}, or export it anew'
            )
        # Missing samples become their band's mean.
        shape = (len(images), self.num_bands, self.window, self.window)
        samples = np.full(shape, np.nan, np.float32)
        for place, image in zip(samples, images, strict=True):
            place[:, :height, :width] = image.numpy()
        (logits,) = self._session.run([_OUTPUT], {_INPUT: samples})
        return logits[:, :, :height, :width]


class _WithNormalisation(nn.Module):
    def __init__(self, model: BaseSegmentor) -> None:
        super().__init__()
        self.model: BaseSegmentor = model

    def forward(self, samples: Tensor) -> Tensor:
        size = tuple(samples.shape[2:])
        meta = dict(img_shape=size, ori_shape=size, pad_shape=size)
        return self.model.encode_decode(self.model.data_preprocessor.normalise(samples), [meta])


def _require(package: str):
    try:
        return __import__(package)
    except ImportError:
        raise UserError(
            f"{package} is not installed: pip install 'dnas_mmseg[onnx]', or pip install onnx "
            'onnxscript onnxruntime'
        ) from None


@contextmanager
def _quiet():
    """Silence the exporter, which logs every operator set and packages that it does without."""
    logger = logging.getLogger('torch.onnx')
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logger.setLevel(level)
