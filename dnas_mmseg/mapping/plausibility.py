"""Whether a scene is like the training tiles of a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmseg.models.segmentors import BaseSegmentor

from dnas_mmseg.datasets.deviation import (
    describe_fill,
    describe_shift,
    find_fill,
    sample_pixels,
)
from dnas_mmseg.raster import Raster


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
    values, masked = sample_pixels(raster, index)
    path, warnings = raster.path, []
    fill = find_fill(values, masked)
    if fill is not None:
        warnings.append(describe_fill(path, fill, mean, std, f'set --nodata {fill[0]:g}'))
        if warnings[-1]:
            masked |= (values == fill[0]).all(0)
    if not masked.all():
        valid = values[:, ~masked].astype(np.float64)
        warnings.append(describe_shift(path, valid.mean(1), mean, std, bands, valid.std(1)))
    return [warning for warning in warnings if warning]
