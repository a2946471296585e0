"""Whether a scene is like the training tiles of a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmseg.models.segmentors import BaseSegmentor

from dnas_mmseg.datasets.deviation import describe_fill, describe_shift, find_fill
from dnas_mmseg.raster import Raster, Window

_GRID, _SIDE = 5, 64
"""A regular grid of windows is read, so that the cost does not depend on the size of a scene."""


def describe_deviation(
    model: BaseSegmentor, raster: Raster, index: Sequence[int], bands: Sequence[str]
) -> list[str]:
    """Return warnings if a scene deviates from the training tiles, one line each.

    Compares the means of bands with the normalisation of the model, in 25 windows of 64 x 64
    pixels on a regular grid.

    Args:
        model: Segmentor with ``mean`` and ``std`` in its data preprocessor; others give none.
        raster: Scene.
        index: Positions of the model's bands in the scene, from 0.
        bands: Names of these bands; empty if unknown.
    """
    preprocessor = getattr(model, 'data_preprocessor', None)
    mean, std = (getattr(preprocessor, name, None) for name in ('mean', 'std'))
    if mean is None or std is None or mean.numel() != len(index):
        return []
    mean, std = (values.flatten().cpu().numpy().astype(np.float64) for values in (mean, std))
    if not mean.any() and (std == 1).all():  # no normalisation
        return []
    parts, masks = [], []
    for window in _windows(raster.info.shape):
        samples = raster.samples(window, index)
        parts.append(samples.values.reshape(len(index), -1))
        invalid = samples.invalid
        masks.append(np.zeros(parts[-1].shape[1], bool) if invalid is None else invalid.ravel())
    values, masked = np.concatenate(parts, axis=1), np.concatenate(masks)
    path, warnings = raster.path, []
    fill = find_fill(values[:, None], masked[None])
    if fill is not None:
        warnings.append(describe_fill(path, fill, mean, std, f'set --nodata {fill[0]:g}'))
        if warnings[-1]:
            masked |= (values == fill[0]).all(0)
    if not masked.all():
        means = values[:, ~masked].mean(1, dtype=np.float64)
        warnings.append(describe_shift(path, means, mean, std, bands))
    return [warning for warning in warnings if warning]


def _windows(shape: tuple[int, int]) -> list[Window]:
    """Return windows on a regular grid; a single one for a small scene."""
    height, width = shape
    rows, columns = (
        sorted({round(i * max(0, length - _SIDE) / (_GRID - 1)) for i in range(_GRID)})
        for length in shape
    )
    return [
        Window(column, row, min(_SIDE, width), min(_SIDE, height))
        for row in rows
        for column in columns
    ]
