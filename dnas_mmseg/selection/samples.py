"""Figure with predictions of a trained network."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmseg.registry import DATASETS, MODELS

from dnas_mmseg.classes import ClassScheme
from dnas_mmseg.datasets import multi_band_parts
from dnas_mmseg.engine.checkpoints import load_exactly, load_weights
from dnas_mmseg.models import place
from dnas_mmseg.visualization.false_colour import apply_palette, false_colour

_TILES = 3
"""Number of tiles, evenly spaced in the test list."""

_PIXELS = 160
"""Largest side of a picture; the page embeds them."""


def draw_predictions(config: Config, checkpoint: str) -> Figure:
    """Draw image, label and prediction of a few test tiles.

    Args:
        config: Config with a labelled test set.
        checkpoint: Path of a checkpoint of its model.
    """
    model = MODELS.build(config.model)
    load_exactly(model, load_weights(checkpoint), checkpoint)
    place(model, get_device()).eval()
    dataset = DATASETS.build(config.test_dataloader.dataset)
    bands = multi_band_parts(dataset)[0].used_bands
    palette = ClassScheme.from_metainfo(dataset.metainfo).palette
    count = min(_TILES, len(dataset))
    figure = Figure(figsize=(5.2, 1.75 * count), layout='constrained')
    axes = figure.subplots(count, 3, squeeze=False)
    for row, index in zip(axes, np.linspace(0, len(dataset) - 1, count, dtype=int), strict=True):
        sample = dataset[int(index)]
        image = np.moveaxis(sample['inputs'].numpy(), 0, -1)
        label = sample['data_samples'].gt_sem_seg.data.squeeze(0).cpu().numpy()
        with torch.no_grad():
            (result,) = model.test_step(pseudo_collate([sample]))
        predicted = result.pred_sem_seg.data.squeeze(0).cpu().numpy()
        step = max(1, -(-max(image.shape[:2]) // _PIXELS))
        pictures = (
            false_colour(image, bands),
            apply_palette(label, palette),
            apply_palette(predicted, palette),
        )
        for axis, picture, title in zip(
            row, pictures, ('image', 'label', 'prediction'), strict=True
        ):
            axis.imshow(picture[::step, ::step])
            axis.set_axis_off()
            if row is axes[0]:
                axis.set_title(title)
    return figure
