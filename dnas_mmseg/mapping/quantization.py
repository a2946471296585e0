"""Weights and activations of eight bits, after training, by NNCF."""

from __future__ import annotations

import copy
import logging
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mmengine.config import Config
from mmseg.registry import DATASETS

from dnas_mmseg.engine.configs import leaf_datasets
from dnas_mmseg.errors import UserError

from .exported import require
from .onnx_model import export_meta, export_onnx
from .openvino_model import OpenVINOModel, save_openvino
from .testing import as_samples, score_exported

if TYPE_CHECKING:
    from mmseg.models import BaseSegmentor

MAX_LOSS = 0.3
"""Points of mIoU that eight bits may cost."""

_CALIBRATED_ON = 128
"""Training tiles from which the ranges of activations are taken."""


def export_int8(
    model: BaseSegmentor, config: Config, path: str | os.PathLike, window: int = 512
) -> dict[str, float]:
    """Write a segmentor for OpenVINO with weights and activations of eight bits.

    Ranges of activations come from training tiles. The model is scored on the validation tiles
    before and after, and both scores are in the file's metadata.

    Args:
        model: Segmentor of :func:`dnas_mmseg.mapping.scenes.load_segmentor`.
        config: Its config, with training and validation tiles, and a work dir for logs.
        path: Path of the ``.xml`` file; the weights lie beside it.
        window: Side of the windows, in pixels; it must hold a tile.

    Returns:
        Validation mIoU ``'float32'`` and ``'int8'``, in percent.

    Raises:
        UserError: OpenVINO or NNCF is missing, there are no tiles, or more than
            :data:`MAX_LOSS` is lost.
    """
    engine = require('openvino', 'openvino')
    require('nncf', 'openvino')
    with tempfile.TemporaryDirectory() as folder:
        onnx = Path(folder) / 'model.onnx'
        export_onnx(model, onnx, window)
        graph = engine.Core().read_model(str(onnx))
        meta = export_meta(model)
        bands = graph.inputs[0].get_partial_shape()[1].get_length()
        graph.reshape([1, bands, window, window])

        def score(quantised: Any) -> float:
            built = OpenVINOModel.from_graph(quantised.clone(), dict(meta))
            return float(score_exported(config, built, 'val')['mIoU'])

        before = score(graph)
        quantised = quantised_graph(graph, list(_tiles(config, window)))
        after = score(quantised)
        if before - after > MAX_LOSS:
            raise UserError(
                f'eight bits cost {before - after:.2f} points of mIoU ({before:.2f} before, '
                f'{after:.2f} after), more than {MAX_LOSS}: use --precision bfloat16'
            )
        scores = {'float32': round(before, 2), 'int8': round(after, 2)}
        save_openvino(quantised, {**meta, 'validation_mIoU': scores}, path)
    return scores


def quantised_graph(graph: Any, samples: Sequence[np.ndarray]) -> Any:
    """Return a graph with weights and activations of eight bits.

    Activations are quantised asymmetrically, which is right for sums of ReLUs and linear maps; with
    the symmetric ones of NNCF's default, OpenVINO 2026.4 cannot compile L=14.

    Args:
        graph: Graph from samples to logits, an ``openvino.Model``.
        samples: Inputs from which the ranges of activations are taken.
    """
    nncf = require('nncf', 'openvino')
    logging.getLogger('nncf').setLevel(logging.WARNING)
    return nncf.quantize(
        graph,
        nncf.Dataset(samples),
        preset=nncf.QuantizationPreset.MIXED,
        target_device=nncf.TargetDevice.CPU,
        subset_size=len(samples),
    )


def _tiles(config: Config, window: int) -> Iterable[np.ndarray]:
    """Yield training tiles as the network takes them, without augmentation."""
    leaves = list(leaf_datasets(config.get('train_dataloader')))
    evaluated = next(leaf_datasets(config.get('val_dataloader')), None)
    if not leaves or evaluated is None:
        raise UserError(
            'eight bits are calibrated on training tiles and scored on validation tiles'
        )
    for leaf in leaves:
        leaf = {**copy.deepcopy(leaf), 'pipeline': evaluated['pipeline'], 'test_mode': True}
        dataset = DATASETS.build(leaf)
        share = max(1, _CALIBRATED_ON // len(leaves))
        for index in np.linspace(0, len(dataset) - 1, min(share, len(dataset))).astype(int):
            yield as_samples(dataset[int(index)]['inputs'], window)
