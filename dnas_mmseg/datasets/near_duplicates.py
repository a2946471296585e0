"""Near-duplicates of tiles in different splits, by a perceptual hash."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import combinations, product
from typing import NamedTuple

import numpy as np

MAX_DISTANCE = 3
"""Largest number of different bits of near-duplicates. Two hashes within it are equal in at least
one of ``MAX_DISTANCE + 1`` parts, which serve as buckets."""

_ROWS, _COLUMNS = 8, 9
_BITS = _ROWS * (_COLUMNS - 1)
_PART = _BITS // (MAX_DISTANCE + 1)

_MIN_STEPS = 48
"""Smallest number of neighbouring cells that differ; in flat images most bits are 0."""

_NEIGHBOURS = 64
"""Hashes of a bucket are compared with as many that follow them, which bounds the time."""


class NearDuplicate(NamedTuple):
    """Positions in the list of two similar tiles of different splits, and their different bits."""

    first: int
    second: int
    distance: int


def difference_hash(samples: np.ndarray, invalid: np.ndarray | None = None) -> int | None:
    """Compute the difference hash of the mean over the bands, on a grid of 8 x 9 cells.

    A bit says whether a cell is brighter than its left neighbour, so that the hash hardly changes
    with brightness, contrast, noise and compression. It changes with flips, rotations and shifts.

    Args:
        samples: Samples, (bands, height, width).
        invalid: Boolean mask of the invalid pixels, (height, width); None if all are valid. Cells
            without a valid pixel have the mean of the valid pixels.

    Returns:
        Hash of 64 bits; None if the image is smaller than the grid or mostly constant: fewer than
        48 of the 64 pairs of neighbours differ.

    Example:
        >>> difference_hash(np.tile(np.arange(18), (1, 16, 1))) == 2**64 - 1
        True
        >>> difference_hash(np.zeros((1, 16, 18))) is None
        True
    """
    height, width = samples.shape[1:]
    if height < _ROWS or width < _COLUMNS:
        return None
    grey = samples.mean(0, dtype=np.float64)
    valid = np.ones(grey.shape) if invalid is None else (~invalid).astype(np.float64)
    if not valid.any():
        return None
    grey[valid == 0] = 0
    counts, totals = _sum_cells(valid), _sum_cells(grey)
    mean = totals.sum() / counts.sum()
    cells = np.where(counts > 0, totals / np.maximum(counts, 1), mean)
    steps = np.diff(cells, axis=1)
    # Means of equal samples over cells of different sizes differ by rounding.
    differs = np.abs(steps) > 1e-9 * np.abs(cells).max()
    if np.count_nonzero(differs) < _MIN_STEPS:
        return None
    return int.from_bytes(np.packbits((steps > 0) & differs).tobytes(), 'big')


def _sum_cells(values: np.ndarray) -> np.ndarray:
    """Return the sum over each cell, (8, 9)."""
    rows, columns = (
        np.arange(number) * length // number
        for number, length in zip((_ROWS, _COLUMNS), values.shape, strict=True)
    )
    return np.add.reduceat(np.add.reduceat(values, rows, axis=0), columns, axis=1)


def find_near_duplicates(tiles: Iterable[tuple[str, int | None]]) -> list[NearDuplicate]:
    """Find tiles of different splits whose hashes differ in at most three bits.

    The time is proportional to the number of tiles, apart from sorting: hashes are compared if
    they are equal in one of four parts, each with the next 64 of its bucket at most.

    Args:
        tiles: Split and hash of each tile; tiles without a hash are skipped.

    Returns:
        Pairs in order of distance; of tiles of a split with equal hashes, only the first.

    Example:
        >>> find_near_duplicates([('train', 0b1011), ('train', 0), ('val', 0b1010)])
        [NearDuplicate(first=0, second=2, distance=1), NearDuplicate(first=1, second=2, distance=2)]
    """
    first: dict[int, dict[str, int]] = defaultdict(dict)
    for i, (split, value) in enumerate(tiles):
        if value is not None:
            first[value].setdefault(split, i)
    found = {
        NearDuplicate(min(pair), max(pair), 0)
        for splits in first.values()
        for pair in combinations(splits.values(), 2)
    }
    hashes = sorted(first)
    for shift in range(0, _BITS, _PART):
        buckets: dict[int, list[int]] = defaultdict(list)
        for value in hashes:
            buckets[value >> shift & (1 << _PART) - 1].append(value)
        for bucket in buckets.values():
            for i, one in enumerate(bucket):
                for other in bucket[i + 1 : i + 1 + _NEIGHBOURS]:
                    distance = (one ^ other).bit_count()
                    if distance <= MAX_DISTANCE:
                        found |= {
                            NearDuplicate(min(a, b), max(a, b), distance)
                            for (s, a), (t, b) in product(first[one].items(), first[other].items())
                            if s != t
                        }
    return sorted(found, key=lambda pair: (pair.distance, pair.first, pair.second))
