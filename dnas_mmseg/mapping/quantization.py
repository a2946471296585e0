"""Post-training int8 quantisation with NNCF."""

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
from dnas_mmseg.extras import require

from .onnx_model import export_onnx, get_export_meta
from .openvino_model import OpenVINOModel, save_openvino
from .testing import as_samples, score_exported

if TYPE_CHECKING:
    from mmseg.models import BaseSegmentor

T = TypeVar('T')

MAX_LOSS = 0.3
"""Largest accepted loss of validation mIoU, in points. It is below the standard deviation over
seeds (about 1 point): the loss is smaller than the difference between two training runs."""

_CALIBRATED_ON = 128
"""Number of training tiles for calibration, spread over the training set. NNCF defaults to 300
samples; fewer shorten the export, and every tile has thousands of pixels."""


def export_int8(
    model: BaseSegmentor, config: Config, path: str | os.PathLike, window: int = 512
) -> dict[str, float]:
    """Quantise a segmentor to int8 and write it for OpenVINO.

    Activation ranges are calibrated on training tiles. The model is scored on the validation tiles
    before and after quantisation; the metadata of the file contain both scores.

    Args:
        model: Segmentor of :func:`dnas_mmseg.mapping.segmentor.load_segmentor`.
        config: Its config, with training and validation tiles, and a work dir for logs.
        path: Path of the ``.xml`` file; the ``.bin`` file has the same stem.
        window: Side of the windows, in pixels; at least the size of a tile.

    Returns:
        Validation mIoU ``'float32'`` and ``'int8'``, in percent.

    Raises:
        UserError: OpenVINO or NNCF is not installed, the config has no tiles, or the loss of mIoU
            exceeds :data:`MAX_LOSS`.
    """
    engine = require('openvino', 'openvino')
    require('nncf', 'openvino')
    with tempfile.TemporaryDirectory() as folder:
        onnx = Path(folder) / 'model.onnx'
        export_onnx(model, onnx, window)
        graph = engine.Core().read_model(str(onnx))
        meta = get_export_meta(model)
        bands = graph.inputs[0].get_partial_shape()[1].get_length()
        graph.reshape([1, bands, window, window])

        def score(quantised: Any) -> float:
            built = OpenVINOModel.from_graph(quantised.clone(), dict(meta))
            return float(score_exported(config, built, 'val')['mIoU'])

        before = score(graph)
        tiles = _calibration_tiles(config)
        quantised = quantise_graph(
            graph, tiles, lambda tile: as_samples(tile[0][tile[1]]['inputs'], window)
        )
        after = score(quantised)
        if before - after > MAX_LOSS:
            raise UserError(
                f'int8 quantisation loses {before - after:.2f} points of mIoU ({before:.2f} to '
                f'{after:.2f}), more than {MAX_LOSS}: use --precision bfloat16'
            )
        scores = {'float32': round(before, 2), 'int8': round(after, 2)}
        weights = f'{meta["weights"]}-int8' if meta['weights'] else None
        save_openvino(quantised, {**meta, 'weights': weights, 'validation_mIoU': scores}, path)
    return scores


def quantise_graph(graph: Any, items: Sequence[T], samples: Callable[[T], np.ndarray]) -> Any:
    """Quantise weights and activations of a graph to int8.

    Activations are quantised asymmetrically, which suits sums of ReLU outputs and linear outputs.
    With the symmetric default of NNCF, OpenVINO 2026.4 cannot compile DNAS L=14.

    Args:
        graph: Graph from samples to logits, an ``openvino.Model``.
        items: Calibration items.
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
    """Return training tiles without augmentation, as pairs of data set and index."""
    leaves = list(leaf_datasets(config.get('train_dataloader')))
    evaluated = next(leaf_datasets(config.get('val_dataloader')), None)
    if not leaves or evaluated is None:
        raise UserError(
            'int8 quantisation requires train_dataloader (calibration) and val_dataloader (scores)'
        )
    tiles: list[tuple[Any, int]] = []
    for leaf in leaves:
        leaf = {**copy.deepcopy(leaf), 'pipeline': evaluated['pipeline'], 'test_mode': True}
        dataset = DATASETS.build(leaf)
        share = min(max(1, _CALIBRATED_ON // len(leaves)), len(dataset))
        tiles += [(dataset, int(i)) for i in np.linspace(0, len(dataset) - 1, share)]
    return tiles
