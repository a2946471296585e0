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


_OPSET = 18
"""Operator set of the files: the oldest that torch's exporter writes."""


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
    _export(_WithNormalisation(model), model, path, window, {META: json.dumps(export_meta(model))})


def export_deepness(
    model: BaseSegmentor, path: str | os.PathLike, window: int, metres: float | None
) -> None:
    """Write a segmentor as ONNX for QGIS's plugin Deepness.

    The plugin feeds samples of eight bits divided by 255, and takes the largest output of each
    pixel of what is not below a threshold; so this graph takes those, and gives probabilities. Its
    metadata are the plugin's (docs of Deepness, "Model metadata"), and not those of
    :func:`export_onnx`, so that no program here feeds it plain samples by mistake.

    Args:
        model: Segmentor of :func:`dnas_mmseg.mapping.scenes.load_segmentor`.
        path: Path of the file; it appears when it is complete.
        window: Side of the windows, in pixels.
        metres: Size of a pixel in metres, at which the plugin shows scenes to the model; None
            leaves it to the user.

    Raises:
        UserError: The packages it needs are missing, or the model normalises in another way.
    """
    threshold = binary_threshold(model)
    classes = dict(enumerate(model.dataset_meta['classes']))
    metadata = {
        'model_type': 'Segmentor',
        'class_names': classes,
        'tile_size': window,
        'tiles_overlap': 25,  # percent
        'seg_thresh': threshold or 0.0,
        'seg_small_segment': 1,  # nothing is smoothed away
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
            'MultiBandDataPreProcessor normalises any number of bands'
        )
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
    assert program is not None  # which it is only without dynamo
    program.model.metadata_props.update(metadata)
    # The oldest format that holds this operator set: Deepness keeps to onnxruntime 1.17, which does
    # not read the one that current packages write by default.
    versions = onnx.helper.OP_SET_ID_VERSION_MAP
    program.model.ir_version = versions['ai.onnx', _OPSET]
    with atomic_path(path) as temporary:
        program.save(str(temporary))


def export_meta(model: BaseSegmentor) -> dict[str, Any]:
    """Return what an exported file tells of a segmentor."""
    keys = ('classes', 'palette', 'bands', 'apply_scale')
    meta = {key: model.dataset_meta.get(key) for key in keys}
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
            metadata = self._session.get_modelmeta().custom_metadata_map
            if META not in metadata and 'model_type' in metadata:
                raise UserError(f'{path} is for Deepness in QGIS: export another one for dnas')
            meta = json.loads(metadata[META])
        except UserError:
            raise
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


class _ForDeepness(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, samples: Tensor) -> Tensor:
        logits = self.inner(255 * samples)
        return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)


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
