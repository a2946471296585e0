"""Blending of the logits of overlapping windows, in blocks of columns that come and go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from dnas_mmseg.raster import Window

_BLOCK = 1024
"""Width of a block in pixels: a multiple of a tile of the map that is written."""


class Part(NamedTuple):
    """A part of the scene that no further window touches.

    Attributes:
        row, column: Its upper left pixel.
        classes: Class of each pixel, uint8 (rows, columns).
        probabilities: Probability of each class, (classes, rows, columns).
        missing: Pixels without a class, boolean (rows, columns).
    """

    row: int
    column: int
    classes: np.ndarray
    probabilities: np.ndarray
    missing: np.ndarray


class _Block(NamedTuple):
    """Sums over windows, from the first row that is not complete."""

    logits: np.ndarray  # (channels, rows, columns)
    weights: np.ndarray  # (rows, columns)
    missing: np.ndarray  # (rows, columns)


class WindowBlender:
    """Weighted mean of the logits of overlapping windows, which hands out complete parts.

    Windows come row by row from the upper left. Sums are held only for blocks of columns that a
    window has reached, at full height only near the current window, and between two rows of windows
    only where both count. So memory does not grow with the width where nothing is valid.

    Args:
        classes: Number of classes.
        height, width: Size of the scene, in pixels.
        windows: All windows of the scene, in order.
        overlap: Pixels shared by neighbouring windows.
        threshold: Threshold of a binary head, see :class:`dnas_mmseg.mapping.windows.WindowModel`.
    """

    def __init__(
        self,
        classes: int,
        height: int,
        width: int,
        windows: Sequence[Window],
        overlap: int,
        threshold: float | None,
    ) -> None:
        self.height, self.width, self.threshold = height, width, threshold
        self.overlap, self._channels = overlap, classes if threshold is None else 1
        rows = sorted({window.row_off for window in windows})
        # The next row of windows does not count in its first rows (:func:`blending_weights`).
        self._complete = {row: below + overlap // 4 for row, below in pairwise(rows)} | {
            rows[-1]: height
        }
        self._blocks: dict[int, _Block] = {}
        self._taken: set[int] = set()  # blocks of this row of windows that are done
        self._top, self._row = 0, rows[0]

    def add(self, window: Window, logits: np.ndarray, missing: np.ndarray | None) -> Iterator[Part]:
        """Add a window, and yield the parts that are complete before it.

        Args:
            window: The window. Windows without a valid pixel are left out.
            logits: Its logits, (classes, height, width).
            missing: Its pixels without a class; None where there are none.
        """
        if window.row_off != self._row:
            yield from self._end_row(window.row_off)
        yield from self._take(before=window.col_off // _BLOCK)
        down, across = (
            blending_weights(size, self.overlap, start == 0, start + size == whole)
            for start, size, whole in (
                (window.row_off, window.height, self.height),
                (window.col_off, window.width, self.width),
            )
        )
        weight = down[:, None] * across
        right = window.col_off + window.width
        rows = slice(window.row_off - self._top, window.row_off - self._top + window.height)
        first = 0
        if rows.start < 0:  # rows that are complete without this window: it does not count there
            first, rows = -rows.start, slice(0, rows.stop)
        for number in range(window.col_off // _BLOCK, (right - 1) // _BLOCK + 1):
            block = self._block(number, rows.stop)
            left = number * _BLOCK
            here = slice(max(window.col_off - left, 0), min(right - left, _BLOCK))
            there = slice(max(left - window.col_off, 0), min(left + _BLOCK, right) - window.col_off)
            block.logits[:, rows, here] += weight[first:, there] * logits[:, first:, there]
            block.weights[rows, here] += weight[first:, there]
            if missing is not None:
                block.missing[rows, here] |= missing[first:, there]

    def finish(self) -> Iterator[Part]:
        """Yield the parts that are left, after the last window."""
        yield from self._end_row(None)

    def _block(self, number: int, rows: int) -> _Block:
        """Return a block that has so many rows, at least."""
        columns = min(_BLOCK, self.width - number * _BLOCK)
        block = self._blocks.get(number)
        if block is None or block.weights.shape[0] < rows:
            grown = _Block(
                np.zeros((self._channels, rows, columns), np.float32),
                np.zeros((rows, columns), np.float32),
                np.zeros((rows, columns), bool),
            )
            if block is not None:
                known = block.weights.shape[0]
                for new, old in zip(grown, block, strict=True):
                    new[..., :known, :] = old
            self._blocks[number] = block = grown
        return block

    def _end_row(self, row: int | None) -> Iterator[Part]:
        """Yield what is complete before the next row of windows that has one, None for no more."""
        rows = sorted(self._complete)
        skipped = [r for r in rows if r >= self._row and (row is None or r < row)]
        for current in skipped:
            self._row = current
            yield from self._take(before=None)
            self._top = self._complete[current]
            self._taken = set()
        self._row = rows[-1] if row is None else row

    def _take(self, before: int | None) -> Iterator[Part]:
        """Yield the complete rows of blocks, those left of a block or all; keep the rows below."""
        rows = self._complete[self._row] - self._top
        for number in sorted(self._blocks):
            if before is not None and number >= before:
                break
            if number in self._taken:
                continue
            self._taken.add(number)
            block = self._blocks.pop(number)
            counting = np.flatnonzero(block.weights[rows:].any(1))
            if counting.size:
                below = slice(rows, rows + counting[-1] + 1)
                self._blocks[number] = _Block(*(array[..., below, :].copy() for array in block))
            part = _Block(*(array[..., :rows, :] for array in block))
            if part.weights.any():
                yield self._part(number, part)

    def _part(self, number: int, block: _Block) -> Part:
        covered = block.weights > 0
        blended = block.logits / np.where(covered, block.weights, 1)
        if self.threshold is None:
            blended -= blended.max(0)
            np.exp(blended, out=blended)
            blended /= blended.sum(0)
            classes = blended.argmax(0)
        else:  # a binary head: the logit of the second class
            positive = 1 / (1 + np.exp(-blended[0].clip(-80, 80)))
            classes = positive > self.threshold
            blended = np.stack([1 - positive, positive])
        missing = block.missing | ~covered
        return Part(self._top, number * _BLOCK, classes.astype(np.uint8), blended, missing)


def blending_weights(size: int, overlap: int, first: bool, last: bool) -> np.ndarray:
    """Return the weights along a window's side, for its logits where windows overlap.

    Towards a neighbour they fall smoothly from 1 to 0, and are 0 in the outermost quarter of the
    overlap: logits at a window's edge, where the network sees nothing beyond, do not count. At the
    scene's own border there is no neighbour, and they stay 1.

    Args:
        size: Length of the side, in pixels.
        overlap: Number of pixels shared with a neighbour.
        first, last: Whether the side begins, or ends, at the scene's border.

    Returns:
        Weights, float32 (size,).
    """
    margin = overlap // 4
    distance = np.arange(size) + 0.5
    weights = np.ones(size)
    for at_border, inwards in ((first, distance), (last, distance[::-1])):
        if overlap and not at_border:
            ramp = np.clip((inwards - margin) / (overlap - 2 * margin), 0, 1)
            weights = np.minimum(weights, np.sin(0.5 * np.pi * ramp) ** 2)
    return weights.astype(np.float32)
