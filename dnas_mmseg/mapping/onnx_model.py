"""Trained models as ONNX files: export, and mapping of scenes with them."""

from __future__ import annotations

import json
import logging
import os
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from dnas_mmseg.cpus import usable_cores
from dnas_mmseg.errors import UserError
from dnas_mmseg.files import atomic_path
from dnas_mmseg.models import MultiBandDataPreProcessor

from .exported import INPUT, META, OUTPUT, ExportedModel, require
from .windows import binary_threshold

if TYPE_CHECKING:
    from mmseg.models import BaseSegmentor


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
        require(package, 'onnx')
    samples = torch.zeros(2, model.data_preprocessor.mean.numel(), window, window)
    samples = samples.to(model.data_preprocessor.mean.device)
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            _WithNormalisation(model).eval(),
            (samples,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim('windows', min=1, max=4096)},),
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # which it is only without dynamo
    program.model.metadata_props[META] = json.dumps(export_meta(model))
    with atomic_path(path) as temporary:
        program.save(str(temporary))


def export_meta(model: BaseSegmentor) -> dict[str, Any]:
    """Return what an exported file tells of a segmentor."""
    meta = {key: model.dataset_meta.get(key) for key in ('classes', 'palette', 'bands')}
    return {**meta, 'threshold': binary_threshold(model)}


class OnnxModel(ExportedModel):
    """Exported model, run by onnxruntime.

    Args:
        path: Path of a file of :func:`export_onnx`.
        device: Device, ``'cpu'``, ``'cuda'`` or ``'cuda:1'``; by default a GPU where onnxruntime
            has one.

    Raises:
        UserError: onnxruntime is missing, or the file is not one that ``dnas export`` wrote.
    """

    def __init__(self, path: str | os.PathLike, device: str | None = None) -> None:
        runtime = require('onnxruntime', 'onnx')
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
        options = runtime.SessionOptions()
        options.intra_op_num_threads = usable_cores()
        try:
            self._session = runtime.InferenceSession(os.fspath(path), options, providers=providers)
            meta = json.loads(self._session.get_modelmeta().custom_metadata_map[META])
        except Exception as error:
            raise UserError(
                f'{path} is no model that dnas export wrote ({type(error).__name__}: {error})'
            ) from None
        _, bands, window, _ = self._session.get_inputs()[0].shape
        super().__init__(meta, bands, window)

    def run(self, samples: np.ndarray) -> np.ndarray:
        return self._session.run([OUTPUT], {INPUT: samples})[0]


class _WithNormalisation(nn.Module):
    def __init__(self, model: BaseSegmentor) -> None:
        super().__init__()
        self.model: BaseSegmentor = model

    def forward(self, samples: Tensor) -> Tensor:
        size = tuple(samples.shape[2:])
        meta = dict(img_shape=size, ori_shape=size, pad_shape=size)
        return self.model.encode_decode(self.model.data_preprocessor.normalise(samples), [meta])


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
