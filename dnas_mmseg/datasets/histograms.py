"""Histograms of samples per band, with bins that all splits of a data set share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dnas_mmseg.raster import Raster, RasterError, valid_pixels

from .checks import Expectation, check_bands

_BINS = 256
_FILES = 64
"""Files that determine the bins of samples other than uint8."""

_SIDE = 64
"""Longer side of the downsampled files; 64 of them have up to 262,144 pixels."""

_PERCENTILES = (0.1, 99.9)


@dataclass(frozen=True)
class HistogramBins:
    """256 bins of equal width per band; samples beyond the range are in the first or last bin.

    Attributes:
        low, high: Range of each band.

    Example:
        >>> bins = HistogramBins((0.0,), (256.0,))
        >>> bins.count(np.array([[[0, 7, 7]]], np.uint8))[0, :8]
        array([1, 0, 0, 0, 0, 0, 0, 2])
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def for_files(cls, files: Sequence[tuple[str, Expectation]]) -> HistogramBins | None:
        """Return bins for the images of a data set.

        For uint8, there is a bin per value. Otherwise the range of a band is that between the
        0.1st and 99.9th percentile of the valid pixels of at most 64 evenly spaced, downsampled
        images, widened by a twentieth on each side; integers have bins of integral width.

        Args:
            files: Image paths with the expectation on them.

        Returns:
            Bins; None if no image is readable.
        """
        step = -(-len(files) // _FILES) or 1
        types: list[np.dtype] = []
        values: list[np.ndarray] = []
        for path, expected in files[::step]:
            try:
                with Raster(path, expected.nodata) as raster:
                    index = check_bands(raster.info, expected.bands, expected.used)[0]
                    types.append(np.dtype(raster.info.dtype_of(index)))
                    samples = raster.samples(bands=index, side=_SIDE)
            except RasterError:
                continue  # reported by the check of all files
            values.append(valid_pixels(samples.values, samples.invalid))
        if not values:
            return None
        bands = len(values[0])
        if all(dtype == np.uint8 for dtype in types):
            return cls((0.0,) * bands, (float(_BINS),) * bands)
        sample = np.concatenate([v for v in values if len(v) == bands], axis=1).astype(np.float64)
        if not sample.size:
            return cls((0.0,) * bands, (1.0,) * bands)
        integral = all(dtype.kind in 'ui' for dtype in types)
        limits = np.percentile(sample, _PERCENTILES, axis=1).T
        ranges = [_range(float(low), float(high), integral) for low, high in limits]
        return cls(tuple(low for low, _ in ranges), tuple(high for _, high in ranges))

    def count(self, samples: np.ndarray, invalid: np.ndarray | None = None) -> np.ndarray | None:
        """Count the valid samples per band and bin.

        Args:
            samples: Samples, (bands, height, width).
            invalid: Boolean mask of the invalid pixels, (height, width); None if all are valid.

        Returns:
            Counts, int64 (bands, 256); None if the number of bands differs.
        """
        if len(samples) != len(self.low):
            return None
        values = valid_pixels(samples, invalid)
        counts = np.zeros((len(samples), _BINS), np.int64)
        for band, (low, high) in enumerate(zip(self.low, self.high, strict=True)):
            index = values[band]
            if index.dtype != np.uint8 or (low, high) != (0, _BINS):
                position = (index.astype(np.float64) - low) * (_BINS / (high - low))
                index = position.clip(0, _BINS - 1).astype(np.intp)
            counts[band] = np.bincount(index, minlength=_BINS)
        return counts

    def edges(self, band: int) -> np.ndarray:
        """Return the edges of the bins of a band, float64 (257,)."""
        return np.linspace(self.low[band], self.high[band], _BINS + 1)


def _range(low: float, high: float, integral: bool) -> tuple[float, float]:
    """Return a range that is wider than that of the sample."""
    margin = (high - low) / 20
    low, high = low - margin, high + margin
    if integral:
        width = max(1, -(-(high - low) // _BINS))
        return float(np.floor(low)), float(np.floor(low) + width * _BINS)
    return (low, high) if high > low else (low - 0.5, low + 0.5)
