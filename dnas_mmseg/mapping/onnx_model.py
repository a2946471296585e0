"""Export of segmentors to ONNX, and inference with ONNX Runtime."""

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

from dnas_mmseg.cpus import usable_threads
from dnas_mmseg.errors import UserError
from dnas_mmseg.extras import require
from dnas_mmseg.files import atomic_path
from dnas_mmseg.models import MultiBandDataPreProcessor

from .exported import INPUT, META, OUTPUT, ExportedModel
from .windows import binary_threshold

if TYPE_CHECKING:
    from mmseg.models import BaseSegmentor


_OPSET = 18
"""ONNX operator set: the oldest that torch's exporter supports, for the widest compatibility."""


def export_onnx(model: BaseSegmentor, path: str | os.PathLike, window: int = 512) -> None:
    """Export a segmentor to ONNX, from samples to logits, including normalisation.

    The number of windows is dynamic. Height and width are fixed, because heads with pooling
    pyramids require it. The metadata of the file contain classes, palette and bands.

    Args:
        model: Segmentor of :func:`dnas_mmseg.mapping.segmentor.load_segmentor`.
        path: Path of the file, written atomically.
        window: Side of the windows, in pixels.

    Raises:
        UserError: The extra ``onnx`` is not installed, or the preprocessor of the model is not a
            MultiBandDataPreProcessor.

    Example:
        >>> export_onnx(load_segmentor(config, 'best.pth'), 'model.onnx')  # doctest: +SKIP
        >>> OnnxModel('model.onnx').dataset_meta['classes']  # doctest: +SKIP
        ['built-up', 'farmland', 'forest', 'meadow', 'water']
    """
    _export(
        _WithNormalisation(model), model, path, window, {META: json.dumps(get_export_meta(model))}
    )


def export_deepness(
    model: BaseSegmentor, path: str | os.PathLike, window: int, metres: float | None
) -> None:
    """Export a segmentor to ONNX for the QGIS plugin Deepness.

    The plugin divides 8-bit samples by 255 and thresholds the outputs before the argmax. The graph
    therefore accepts samples from 0 to 1 and returns probabilities. It has the metadata of the
    plugin (Deepness documentation, "Model metadata") and not those of :func:`export_onnx`, so that
    :class:`OnnxModel` rejects it instead of passing unscaled samples.

    Args:
        model: Segmentor of :func:`dnas_mmseg.mapping.segmentor.load_segmentor`.
        path: Path of the file, written atomically.
        window: Side of the windows, in pixels.
        metres: Pixel size in metres to which the plugin resamples scenes; None leaves it to the
            user.

    Raises:
        UserError: As for :func:`export_onnx`.
    """
    threshold = binary_threshold(model)
    classes = dict(enumerate(model.dataset_meta['classes']))
    metadata = {
        'model_type': 'Segmentor',
        'class_names': classes,
        'tile_size': window,
        'tiles_overlap': 25,  # percent
        'seg_thresh': threshold or 0.0,
        'seg_small_segment': 1,  # no removal of small segments
        **({} if metres is None else {'resolution': round(100 * metres, 2)}),  # centimetres
    }
    module = _ForDeepness(_WithNormalisation(model))
    _export(
        module, model, path, window, {key: json.dumps(value) for key, value in metadata.items()}
    )


def _export(
    module: nn.Module,
    model: BaseSegmentor,
    path: str | os.PathLike,
    window: int,
    metadata: dict[str, str],
) -> None:
    if not isinstance(model.data_preprocessor, MultiBandDataPreProcessor):
        raise UserError(
            f'models with {type(model.data_preprocessor).__name__} cannot be exported; '
            'use MultiBandDataPreProcessor, which supports any number of bands'
        )
    if window < 1:
        raise UserError(f'window = {window}: must be at least 1')
    onnx = require('onnx', 'onnx')
    require('onnxscript', 'onnx')
    samples = torch.zeros(2, model.data_preprocessor.mean.numel(), window, window)
    samples = samples.to(model.data_preprocessor.mean.device)
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            (samples,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim('windows', min=1, max=4096)},),
            opset_version=_OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # None only with dynamo=False
    program.model.metadata_props.update(metadata)
    # The oldest IR version for this operator set: Deepness pins onnxruntime 1.17, which cannot read
    # the default of current exporters.
    versions = onnx.helper.OP_SET_ID_VERSION_MAP
    program.model.ir_version = versions['ai.onnx', _OPSET]
    with atomic_path(path) as temporary:
        program.save(str(temporary))


def get_export_meta(model: BaseSegmentor) -> dict[str, Any]:
    """Return the metadata of a segmentor for an exported file."""
    keys = ('classes', 'palette', 'bands', 'unnamed_bands', 'apply_scale', 'weights')
    meta = {key: model.dataset_meta.get(key) for key in keys}
    return {**meta, 'threshold': binary_threshold(model)}


class OnnxModel(ExportedModel):
    """Run an exported model with ONNX Runtime.

    Args:
        path: Path of a file written by :func:`export_onnx`.
        device: Device, ``'cpu'``, ``'cuda'`` or ``'cuda:1'``; defaults to a GPU if onnxruntime
            supports one.

    Raises:
        UserError: onnxruntime is not installed, the device is not available, or the file was not
            written by ``dnas export``.

    Example:
        >>> model = OnnxModel('model.onnx', device='cpu')  # doctest: +SKIP
        >>> model.logits([torch.zeros(4, 512, 512)]).shape  # doctest: +SKIP
        (1, 5, 512, 512)
    """

    def __init__(self, path: str | os.PathLike, device: str | None = None) -> None:
        runtime = require('onnxruntime', 'onnx')
        gpu = 'CUDAExecutionProvider'
        has_gpu = gpu in runtime.get_available_providers()
        kind, _, index = (device or ('cuda' if has_gpu else 'cpu')).partition(':')
        if kind not in ('cpu', 'cuda') or (kind == 'cuda' and not has_gpu):
            raise UserError(f'device {device}: this onnxruntime supports cpu{", cuda" * has_gpu}')
        providers: list = ['CPUExecutionProvider']
        if kind == 'cuda':
            number = int(index or os.environ.get('LOCAL_RANK', '0'))
            providers.insert(0, (gpu, {'device_id': number}))
        if not os.path.isfile(path):
            raise UserError(f'{path}: no such file')
        options = runtime.SessionOptions()
        options.intra_op_num_threads = usable_threads()
        try:
            self._session = runtime.InferenceSession(os.fspath(path), options, providers=providers)
            metadata = self._session.get_modelmeta().custom_metadata_map
            if META not in metadata and 'model_type' in metadata:
                raise UserError(
                    f'{path} was exported for QGIS; export the model without --deepness'
                )
            meta = json.loads(metadata[META])
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f'{path} was not written by dnas export ({type(error).__name__}: {error})'
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


class _ForDeepness(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, samples: Tensor) -> Tensor:
        logits = self.inner(255 * samples)
        return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)


@contextmanager
def _quiet():
    """Silence the exporter, which logs operator sets, missing optional packages, skipped steps."""
    loggers = [logging.getLogger(name) for name in ('torch.onnx', 'onnxscript')]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
