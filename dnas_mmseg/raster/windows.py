"""Windows of rasters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Window(NamedTuple):
    """Rectangle of a raster in pixels, in the order of ``rasterio.windows.Window``.

    Example:
        >>> Window(col_off=11, row_off=5, width=7, height=20)
        Window(col_off=11, row_off=5, width=7, height=20)
    """

    col_off: int
    row_off: int
    width: int
    height: int

    def intersect(self, other: Window) -> Window | None:
        """Return the common part of two windows; None if there is none."""
        left, top = max(self.col_off, other.col_off), max(self.row_off, other.row_off)
        right = min(self.col_off + self.width, other.col_off + other.width)
        bottom = min(self.row_off + self.height, other.row_off + other.height)
        if right <= left or bottom <= top:
            return None
        return Window(left, top, right - left, bottom - top)

    def slices_in(self, outer: Window) -> tuple[slice, slice]:
        """Return rows and columns of this window in the samples of a window around it."""
        row, column = self.row_off - outer.row_off, self.col_off - outer.col_off
        return slice(row, row + self.height), slice(column, column + self.width)


def row_windows(height: int, width: int, rows: int) -> Iterator[Window]:
    """Yield windows of whole rows that cover a raster.

    Args:
        height, width: Size of the raster, in pixels.
        rows: Height of a window; the last one may be lower.

    Example:
        >>> [window.height for window in row_windows(10, 7, 4)]
        [4, 4, 2]
    """
    for row in range(0, height, rows):
        yield Window(0, row, width, min(rows, height - row))


def block_windows(height: int, width: int, side: int) -> list[Window]:
    """Return square windows that cover a raster, row by row.

    Args:
        height, width: Size of the raster, in pixels.
        side: Side of a window; those at the right and lower border may be smaller.

    Example:
        >>> [tuple(window) for window in block_windows(3, 5, 4)]
        [(0, 0, 4, 3), (4, 0, 1, 3)]
    """
    return [
        Window(column, row, min(side, width - column), min(side, height - row))
        for row in range(0, height, side)
        for column in range(0, width, side)
    ]
