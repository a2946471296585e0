"""Weights and activations of eight bits, after training, by NNCF."""

from __future__ import annotations

import copy
import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from mmengine.config import Config
from mmseg.registry import DATASETS

from dnas_mmseg.datasets.configs import leaf_datasets
from dnas_mmseg.errors import UserError

from .exported import require
from .onnx_model import export_meta, export_onnx
from .openvino_model import OpenVINOModel, save_openvino
from .testing import as_samples, score_exported

if TYPE_CHECKING:
    from mmseg.models import BaseSegmentor

T = TypeVar('T')

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
        tiles = _calibration_tiles(config)
        quantised = quantised_graph(
            graph, tiles, lambda tile: as_samples(tile[0][tile[1]]['inputs'], window)
        )
        after = score(quantised)
        if before - after > MAX_LOSS:
            raise UserError(
                f'eight bits cost {before - after:.2f} points of mIoU ({before:.2f} before, '
                f'{after:.2f} after), more than {MAX_LOSS}: use --precision bfloat16'
            )
        scores = {'float32': round(before, 2), 'int8': round(after, 2)}
        save_openvino(quantised, {**meta, 'validation_mIoU': scores}, path)
    return scores


def quantised_graph(graph: Any, items: Sequence[T], samples: Callable[[T], np.ndarray]) -> Any:
    """Return a graph with weights and activations of eight bits.

    Activations are quantised asymmetrically, which is right for sums of ReLUs and linear maps; with
    the symmetric ones of NNCF's default, OpenVINO 2026.4 cannot compile L=14.

    Args:
        graph: Graph from samples to logits, an ``openvino.Model``.
        items: What the ranges of activations are taken from.
        samples: Function from an item to an input of the graph.
    """
    nncf = require('nncf', 'openvino')
    logging.getLogger('nncf').setLevel(logging.WARNING)
    return nncf.quantize(
        graph,
        nncf.Dataset(items, samples),
        preset=nncf.QuantizationPreset.MIXED,
        target_device=nncf.TargetDevice.CPU,
        subset_size=len(items),
    )


def _calibration_tiles(config: Config) -> list[tuple[Any, int]]:
    """Return training tiles without augmentation, as pairs of a data set and an index."""
    leaves = list(leaf_datasets(config.get('train_dataloader')))
    evaluated = next(leaf_datasets(config.get('val_dataloader')), None)
    if not leaves or evaluated is None:
        raise UserError(
            'eight bits are calibrated on training tiles and scored on validation tiles'
        )
    tiles: list[tuple[Any, int]] = []
    for leaf in leaves:
        leaf = {**copy.deepcopy(leaf), 'pipeline': evaluated['pipeline'], 'test_mode': True}
        dataset = DATASETS.build(leaf)
        share = min(max(1, _CALIBRATED_ON // len(leaves)), len(dataset))
        tiles += [(dataset, int(i)) for i in np.linspace(0, len(dataset) - 1, share)]
    return tiles
