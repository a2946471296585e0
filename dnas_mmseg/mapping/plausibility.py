"""Whether a scene is like the training tiles of a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dnas_mmseg.datasets.checks import exact_number
from dnas_mmseg.datasets.deviation import (
    describe_fill,
    describe_shift,
    find_fill,
    sample_pixels,
)
from dnas_mmseg.raster import Raster, valid_pixels

from .windows import Normalisation


def describe_deviation(
    normalisation: Normalisation | None, raster: Raster, index: Sequence[int], bands: Sequence[str]
) -> list[str]:
    """Return warnings if a scene deviates from the training tiles, one line each.

    Compares the means of bands with the normalisation of the model, in 25 windows of 64 x 64
    pixels on a regular grid.

    Args:
        normalisation: Mean and standard deviation of the training tiles; None if unknown.
        raster: Scene.
        index: Positions of the model's bands in the scene, from 0.
        bands: Names of these bands; empty if unknown.
    """
    if normalisation is None or len(normalisation.mean) != len(index):
        return []
    mean, std = normalisation
    if not mean.any() and (std == 1).all():  # no normalisation
        return []
    values, masked = sample_pixels(raster, index)
    path, warnings = raster.path, []
    fill = find_fill(values, masked)
    if fill is not None:
        warnings.append(
            describe_fill(path, fill, mean, std, f'set --nodata {exact_number(fill[0])}')
        )
        if warnings[-1]:
            masked |= (values == fill[0]).all(0)
    if not masked.all():
        valid = valid_pixels(values, masked).astype(np.float64)
        warnings.append(describe_shift(path, valid.mean(1), mean, std, bands, valid.std(1)))
    return [warning for warning in warnings if warning]
