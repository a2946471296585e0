"""Validity of a raster's pixels: the only place that defines it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Samples:
    """Samples of some bands, with the facts that determine which pixels are valid.

    A pixel is invalid where

    - the file's own mask (internal, ``.msk``, alpha) leaves it out,
    - any of these bands is not finite,
    - every one of these bands that declares a nodata value holds it (a single band may hold 0 on
      water or in shadow), or
    - every one of these bands holds the value that the user gives as nodata.

    Bands that are not used do not count: a quality band or an elevation may be missing, or present,
    where the image is not.

    Attributes:
        values: Samples as stored, (bands, height, width).
        nodata: Nodata value that each band declares, None where it declares none.
        masked: Mask, (height, width), True where the file's mask or alpha is 0; None for nowhere.
        user_nodata: Nodata value that the user gives, beside what the file declares.
        alpha: Positions of alpha bands among these; they mask a selection without them.
    """

    values: np.ndarray
    nodata: tuple[float | None, ...]
    masked: np.ndarray | None = None
    user_nodata: float | None = None
    alpha: tuple[int, ...] = ()

    @cached_property
    def invalid(self) -> np.ndarray | None:
        """Boolean mask, (height, width), or None where every pixel is valid."""
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
        """Return the samples of some of these bands, by position."""
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
        """Return the samples with NaN in every band where a pixel is invalid.

        Whole numbers become float32 where there is such a pixel; else they stay as they are.
        """
        invalid = self.invalid
        if invalid is None:
            return self.values
        is_float = self.values.dtype.kind == 'f'
        values = self.values.copy() if is_float else self.values.astype(np.float32)
        values[:, invalid] = np.nan
        return values


def equals_nodata(samples: np.ndarray, value: float) -> np.ndarray:
    """Return a mask of the samples that equal a nodata value, as files write it.

    Text in a tag is rounded: -3.40282e+38 is meant for float32's smallest number. So floating-point
    samples match to a few units in the last place, and to six digits at the end of the range.
    """
    if samples.dtype.kind != 'f':
        limits = np.iinfo(samples.dtype)
        if value != int(value) or not limits.min <= value <= limits.max:
            return np.zeros(samples.shape, bool)
        return samples == samples.dtype.type(int(value))
    limits = np.finfo(samples.dtype)
    relative = 1e-5 if abs(value) > 0.99 * float(limits.max) else 4 * float(limits.eps)
    reach = relative * abs(value)
    low, high = (np.clip(value + d, limits.min, limits.max) for d in (-reach, reach))
    return (samples >= samples.dtype.type(low)) & (samples <= samples.dtype.type(high))
