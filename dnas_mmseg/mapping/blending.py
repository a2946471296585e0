"""Blend the logits of overlapping windows in blocks of columns that are freed when complete."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from dnas_mmseg.raster import Window

_BLOCK = 1024
"""Width of a block in pixels. It is a multiple of the tile size of the output (512), so that a
block fills whole tiles; narrower blocks cost more array operations, wider ones more memory."""


class Part(NamedTuple):
    """Part of the scene that no further window covers.

    Attributes:
        row, column: Position of its upper left pixel.
        classes: Class of each pixel, uint8 (rows, columns).
        probabilities: Probability of each class, float32 (classes, rows, columns).
        missing: Pixels without a class, boolean (rows, columns).
    """

    row: int
    column: int
    classes: np.ndarray
    probabilities: np.ndarray
    missing: np.ndarray

    def crop_rows(self, top: int, bottom: int) -> Part:
        """Return the part of rows ``top`` to ``bottom`` of the scene, which may be empty."""
        first = max(top - self.row, 0)
        rows = slice(first, max(bottom - self.row, first))
        return Part(
            self.row + first,
            self.column,
            self.classes[rows],
            self.probabilities[:, rows],
            self.missing[rows],
        )


class _Block(NamedTuple):
    """Sums over windows, starting at the first incomplete row."""

    logits: np.ndarray  # (channels, rows, columns)
    weights: np.ndarray  # (rows, columns)
    missing: np.ndarray  # (rows, columns)


class WindowBlender:
    """Compute weighted means of the logits of overlapping windows, and yield complete parts.

    Windows are added row by row from the upper left. Sums exist only for blocks of columns that a
    window has reached: at full height near the current window, and elsewhere only for the overlap
    of two rows of windows. Memory therefore does not grow with the width of invalid areas.

    Args:
        classes: Number of classes.
        height, width: Size of the scene, in pixels.
        windows: Windows row by row: all of the scene, or those of consecutive rows of windows. Rows
            that other windows reach are then incomplete, see
            :func:`dnas_mmseg.mapping.row_blocks.select_windows`.
        overlap: Number of pixels shared by neighbouring windows.
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
        # The next row of windows has zero weight in its first rows (:func:`blending_weights`).
        self._complete = {row: below + overlap // 4 for row, below in pairwise(rows)} | {
            rows[-1]: max(window.row_off + window.height for window in windows)
        }
        self._blocks: dict[int, _Block] = {}
        self._emitted: set[int] = set()  # blocks complete for the current row of windows
        self._top, self._row = rows[0], rows[0]

    def add(self, window: Window, logits: np.ndarray, missing: np.ndarray | None) -> Iterator[Part]:
        """Add a window, and yield the parts that are complete before it.

        Args:
            window: The window. Skip windows without a valid pixel.
            logits: Its logits, (classes, height, width).
            missing: Mask of its pixels without a class, boolean (height, width); None if it has
                none.
        """
        if window.row_off != self._row:
            yield from self._end_row(window.row_off)
        yield from self._emit(before=window.col_off // _BLOCK)
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
        if rows.start < 0:  # complete already: the window has zero weight
            first, rows = -rows.start, slice(0, rows.stop)
        for number in range(window.col_off // _BLOCK, (right - 1) // _BLOCK + 1):
            block = self._block(number, rows.stop)
            left = number * _BLOCK
            target = slice(max(window.col_off - left, 0), min(right - left, _BLOCK))
            source = slice(
                max(left - window.col_off, 0), min(left + _BLOCK, right) - window.col_off
            )
            block.logits[:, rows, target] += weight[first:, source] * logits[:, first:, source]
            block.weights[rows, target] += weight[first:, source]
            if missing is not None:
                block.missing[rows, target] |= missing[first:, source]

    def finish(self) -> Iterator[Part]:
        """Yield the remaining parts after the last window."""
        yield from self._end_row(None)

    def _block(self, number: int, rows: int) -> _Block:
        """Return a block, extended to at least ``rows`` rows."""
        columns = min(_BLOCK, self.width - number * _BLOCK)
        block = self._blocks.get(number)
        if block is None or block.weights.shape[0] < rows:
            extended = _Block(
                np.zeros((self._channels, rows, columns), np.float32),
                np.zeros((rows, columns), np.float32),
                np.zeros((rows, columns), bool),
            )
            if block is not None:
                height = block.weights.shape[0]
                for new, old in zip(extended, block, strict=True):
                    new[..., :height, :] = old
            self._blocks[number] = block = extended
        return block

    def _end_row(self, row: int | None) -> Iterator[Part]:
        """Yield the parts that are complete before a row of windows; None stands for the end."""
        rows = sorted(self._complete)
        skipped = [r for r in rows if r >= self._row and (row is None or r < row)]
        for current in skipped:
            self._row = current
            yield from self._emit(before=None)
            self._top = self._complete[current]
            self._emitted = set()
        self._row = rows[-1] if row is None else row

    def _emit(self, before: int | None) -> Iterator[Part]:
        """Yield the complete rows of all blocks, or of those left of a block; keep the rest."""
        rows = self._complete[self._row] - self._top
        for number in sorted(self._blocks):
            if before is not None and number >= before:
                break
            if number in self._emitted:
                continue
            self._emitted.add(number)
            block = self._blocks.pop(number)
            nonzero = np.flatnonzero(block.weights[rows:].any(1))
            if nonzero.size:
                below = slice(rows, rows + nonzero[-1] + 1)
                self._blocks[number] = _Block(*(array[..., below, :].copy() for array in block))
            part = _Block(*(array[..., :rows, :] for array in block))
            if part.weights.any():
                yield self._finish_part(number, part)

    def _finish_part(self, number: int, block: _Block) -> Part:
        covered = block.weights > 0
        blended = block.logits / np.where(covered, block.weights, 1)
        if self.threshold is None:
            blended -= blended.max(0)
            np.exp(blended, out=blended)
            blended /= blended.sum(0)
            classes = _argmax(blended)
        else:  # binary head: one logit, of the second class
            positive = 1 / (1 + np.exp(-blended[0].clip(-80, 80)))
            classes = positive > self.threshold
            blended = np.stack([1 - positive, positive])
        missing = block.missing | ~covered
        return Part(self._top, number * _BLOCK, classes.astype(np.uint8), blended, missing)


def _argmax(probabilities: np.ndarray) -> np.ndarray:
    """Return the first index of the maximum over the classes, as np.argmax does.

    That takes three to five times as long for maps with areas of more than a few pixels: it brings
    the classes of each pixel together.
    """
    best = probabilities[0].copy()
    classes = np.zeros(best.shape, np.uint8)
    for index in range(1, len(probabilities)):
        np.copyto(classes, np.uint8(index), where=probabilities[index] > best)
        np.maximum(best, probabilities[index], out=best)
    return classes


def blending_weights(size: int, overlap: int, first: bool, last: bool) -> np.ndarray:
    """Return blending weights along one side of a window.

    Weights fall from 1 to 0 towards a neighbouring window, as a squared sine. They are 0 in the
    outermost quarter of the overlap, because logits at a window's edge lack context. At the border
    of the scene they stay 1.

    Args:
        size: Length of the side, in pixels.
        overlap: Number of pixels shared with a neighbour.
        first, last: Whether the window is the first or last one along this axis.

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
