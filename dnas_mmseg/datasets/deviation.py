"""Images that deviate from the training data: other units or sensors, undeclared fill values."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np

from dnas_mmseg.raster import Raster, Window, valid_pixels

MAX_DEVIATION = 2.5
"""Largest plausible deviation of a mean from that of the training tiles, in standard deviations."""

_MAX_SPREAD = 50.0
"""Ratio of standard deviations of another unit; water varies ten times less than land."""

_GRID, _SIDE = 5, 64
"""Windows per axis and their side in pixels, sampled from a raster of any size."""

_MAX_PIXELS = 25000
"""Largest number of pixels, of which 1 % determine a mean to a hundredth of the deviation."""

_MIN_FILL = 0.01
"""Share of pixels from which an extreme value may be a fill value."""


def sample_pixels(raster: Raster, index: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Read 25 windows of 64 x 64 pixels on a regular grid, or the whole raster if it is smaller.

    Of the pixels that are read, one in so many is returned that they are at most about 25,000.

    Args:
        raster: Raster.
        index: Positions of the bands, from 0.

    Returns:
        Samples, (bands, pixels); and whether each pixel is invalid, boolean (pixels,).
    """
    height, width = raster.info.shape
    if height * width <= _GRID**2 * _SIDE**2:
        samples = raster.samples(bands=index)
        values, invalid = samples.values.reshape(len(index), -1), samples.invalid
        masked = np.zeros(values.shape[1], bool) if invalid is None else invalid.ravel()
        return _thin(values, masked)
    rows, columns = (
        sorted({round(i * max(0, length - _SIDE) / (_GRID - 1)) for i in range(_GRID)})
        for length in (height, width)
    )
    parts, masks = [], []
    for row in rows:
        for column in columns:
            window = Window(column, row, min(_SIDE, width), min(_SIDE, height))
            samples = raster.samples(window, index)
            parts.append(samples.values.reshape(len(index), -1))
            invalid = samples.invalid
            empty = np.zeros(parts[-1].shape[1], bool)
            masks.append(empty if invalid is None else invalid.ravel())
    return _thin(np.concatenate(parts, axis=1), np.concatenate(masks))


def _thin(values: np.ndarray, masked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return every n-th pixel."""
    step = -(-masked.size // _MAX_PIXELS)
    return np.ascontiguousarray(values[:, ::step]), masked[::step]


def find_fill(samples: np.ndarray, invalid: np.ndarray | None) -> tuple[float, float] | None:
    """Return the extreme value that all bands have in many pixels.

    Args:
        samples: Samples, (bands, ...).
        invalid: Mask of invalid pixels, boolean (...); None if there are none.

    Returns:
        The smallest or largest valid sample, and the share of the pixels that hold it in all bands;
        None if that is below 1 % for both.
    """
    values = valid_pixels(samples, invalid)
    if not values.size:
        return None
    for extreme in (values.min(), values.max()):
        # Ten times faster than a reduction over the short axis.
        equal = reduce(np.logical_and, (band == extreme for band in values))
        share = float(equal.sum()) / samples[0].size
        if share >= _MIN_FILL:
            return float(extreme), share
    return None


def describe_fill(
    path: str, fill: tuple[float, float], mean: np.ndarray, std: np.ndarray, remedy: str
) -> str:
    """Return a warning of an undeclared fill value; empty if the value is plausible.

    Args:
        path: Path of the image.
        fill: Result of :func:`find_fill`.
        mean, std: Mean and standard deviation of the training tiles, (bands,).
        remedy: What declares the value, e.g. an option.
    """
    value, share = fill
    if (np.abs(value - mean) <= MAX_DEVIATION * np.maximum(std, 1e-30)).any():
        return ''
    return (
        f'{path}: all bands are {value:g} in {100 * share:.2g} % of the pixels, far from the '
        f'training tiles: if it is an undeclared nodata value, {remedy}'
    )


def describe_shift(
    path: str,
    means: np.ndarray,
    mean: np.ndarray,
    std: np.ndarray,
    bands: Sequence[str] = (),
    stds: np.ndarray | None = None,
) -> str:
    """Return a warning of band means far from those of the training tiles; empty if they are near.

    Means of 0 .. 1 instead of 0 .. 255 may be near, but all bands then vary far less.

    Args:
        path: Path of the image.
        means: Mean of its valid pixels, (bands,).
        mean, std: Mean and standard deviation of the training tiles, (bands,).
        bands: Names of the bands; empty if unknown.
        stds: Standard deviation of its valid pixels, (bands,); None if unknown.
    """
    if stds is not None:
        ratios = stds / np.maximum(std, 1e-30)
        if (ratios < 1 / _MAX_SPREAD).all() or (ratios > _MAX_SPREAD).all():
            listed = ' and '.join(
                ', '.join(f'{value:.3g}' for value in values) for values in (stds, std)
            )
            return (
                f'{path}: all bands vary by another order of magnitude than the training tiles '
                f'(standard deviations {listed}): perhaps another unit'
            )
    distance = np.abs(means - mean) / np.maximum(std, 1e-30)
    worst = int(distance.argmax())
    if distance[worst] <= MAX_DEVIATION:
        return ''
    name = bands[worst] if bands else str(worst + 1)
    return (
        f'{path}: the mean of band {name} is {means[worst]:.4g}, in the training tiles '
        f'{mean[worst]:.4g} +- {std[worst]:.3g}: perhaps another sensor, unit or order of bands'
    )
