"""Validity of pixels: nodata values, masks, alpha, and non-finite samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Samples:
    """Samples of selected bands with their validity.

    A pixel is invalid if

    - the file's mask (internal, ``.msk``, or alpha) is 0,
    - any of these bands is NaN or infinite,
    - all of these bands that declare a nodata value hold it (a single band may be 0 over water or
      in shadow), or
    - all of these bands hold the nodata value set by the user.

    Unselected bands do not affect validity: a quality or elevation band may have gaps of its own.

    Attributes:
        values: Samples as stored, (bands, height, width).
        nodata: Declared nodata value of each band, or None.
        masked: Boolean (height, width), True where the file's mask or alpha is 0; None if nowhere.
        user_nodata: Nodata value set by the user, in addition to the declared ones.
        alpha: Positions of alpha bands in ``values``; an alpha band masks selections without it.

    Example:
        >>> samples = Samples(np.array([[[0, 5]], [[0, 7]]], np.uint8), nodata=(0, 0))
        >>> samples.invalid
        array([[ True, False]])
        >>> samples.select([1]).values
        array([[[0, 7]]], dtype=uint8)
    """

    values: np.ndarray
    nodata: tuple[float | None, ...]
    masked: np.ndarray | None = None
    user_nodata: float | None = None
    alpha: tuple[int, ...] = ()

    @cached_property
    def invalid(self) -> np.ndarray | None:
        """Boolean mask, (height, width); None if every pixel is valid."""
        mask = np.zeros(self.values.shape[1:], bool) if self.masked is None else self.masked
        if self.values.dtype.kind == 'f':
            mask = mask | ~np.isfinite(self.values).all(0)
        rules = [[(b, v) for b, v in enumerate(self.nodata) if v is not None and np.isfinite(v)]]
        if self.user_nodata is not None and np.isfinite(self.user_nodata):
            rules.append([(b, self.user_nodata) for b in range(len(self.values))])
        for rule in filter(None, rules):
            mask = mask | np.logical_and.reduce([equals_nodata(self.values[b], v) for b, v in rule])
        return mask if mask.any() else None

    def select(self, index: Sequence[int]) -> Samples:
        """Return the samples of the bands at these positions."""
        masked = self.masked
        for i in self.alpha:
            if i not in index:
                transparent = self.values[i] == 0
                masked = transparent if masked is None else masked | transparent
        return Samples(
            self.values[list(index)],
            tuple(self.nodata[i] for i in index),
            masked,
            self.user_nodata,
        )

    def without_invalid(self) -> np.ndarray:
        """Return the samples with invalid pixels set to NaN in all bands.

        Integers become float32 if any pixel is invalid; otherwise the samples are unchanged.
        """
        invalid = self.invalid
        if invalid is None:
            return self.values
        is_float = self.values.dtype.kind == 'f'
        values = self.values.copy() if is_float else self.values.astype(np.float32)
        values[:, invalid] = np.nan
        return values


def valid_pixels(values: np.ndarray, invalid: np.ndarray | None) -> np.ndarray:
    """Return the valid pixels of all bands.

    Args:
        values: Samples, (bands, ...).
        invalid: Boolean mask of the invalid pixels, (...); None if all are valid.

    Returns:
        Samples, (bands, pixels), contiguous per band. (An index with the mask would leave the bands
        next to each other in memory, and reductions over pixels are then ten times slower.)

    Example:
        >>> valid_pixels(np.array([[1, 2, 3], [4, 5, 6]]), np.array([False, True, False]))
        array([[1, 3],
               [4, 6]])
    """
    flat = values.reshape(len(values), -1)
    return flat if invalid is None else flat.compress(~invalid.ravel(), axis=1)


def equals_nodata(samples: np.ndarray, value: float) -> np.ndarray:
    """Return a boolean mask of the samples that equal a nodata value.

    Nodata tags are rounded text: -3.40282e+38 stands for the lowest float32. Floating-point samples
    therefore match within a few units in the last place, or to five digits near the type's limits.
    """
    if samples.dtype.kind != 'f':
        limits = np.iinfo(samples.dtype)
        if value != int(value) or not limits.min <= value <= limits.max:
            return np.zeros(samples.shape, bool)
        return samples == samples.dtype.type(int(value))
    limits = np.finfo(samples.dtype)
    relative = 1e-5 if abs(value) > 0.99 * float(limits.max) else 4 * float(limits.eps)
    tolerance = relative * abs(value)
    low, high = (np.clip(value + d, limits.min, limits.max) for d in (-tolerance, tolerance))
    return (samples >= samples.dtype.type(low)) & (samples <= samples.dtype.type(high))
