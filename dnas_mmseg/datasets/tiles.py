"""Tiles of a scene: windows, file names, and pixels counted once where tiles overlap."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dnas_mmseg.raster import Window

_TILE_NAME = re.compile(r'(.+)_(\d+)_(\d+)')
MANIFEST = 'manifest'
"""Folder in a data root with a JSON file per scene about the origin of its tiles."""


def tile_windows(height: int, width: int, size: int, stride: int) -> list[Window]:
    """Return the windows of the tiles that cover a scene, row by row.

    Args:
        height, width: Size of the scene, in pixels.
        size: Side of a tile, in pixels.
        stride: Distance between neighbouring tiles, in pixels.

    Returns:
        Windows inside the scene: the last row and column are moved inwards and overlap their
        neighbours. Only in a scene smaller than ``size`` they extend beyond it.

    Example:
        >>> [(w.row_off, w.col_off) for w in tile_windows(512, 1200, 512, 512)]
        [(0, 0), (0, 512), (0, 688)]
    """
    return [
        Window(column, row, size, size)
        for row in _starts(height, size, stride)
        for column in _starts(width, size, stride)
    ]


def tile_paths(scene: str, row: int, column: int) -> tuple[str, str]:
    """Return the paths of a tile's image and label, relative to the data root."""
    name = f'{scene}_{row}_{column}'
    return f'images/{name}.tif', f'labels/{name}.png'


def parse_tile_name(path: str | os.PathLike) -> tuple[str, int, int] | None:
    """Return (scene, row, column) of a tile's file name; None if the name has another form.

    Example:
        >>> parse_tile_name('images/GF2_1_512_1024.tif')
        ('GF2_1', 512, 1024)
    """
    match = _TILE_NAME.fullmatch(Path(path).stem)
    return None if match is None else (match[1], int(match[2]), int(match[3]))


def count_once_mask(shape: tuple[int, int], neighbours: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return the mask of the pixels that are counted in this tile and in no overlapping one.

    A pixel is counted in the tile with the nearest centre, where the network has most context; in
    case of a tie, in the upper left tile.

    Args:
        shape: Height and width of the tiles.
        neighbours: Offsets (rows, columns) from this tile to each overlapping tile.

    Returns:
        Boolean mask, (height, width).

    Example:
        >>> count_once_mask((1, 4), [(0, 2)])
        array([[ True,  True,  True, False]])
    """
    rows, columns = (np.arange(length) - (length - 1) / 2 for length in shape)
    result = np.ones(shape, bool)
    for down, across in neighbours:
        # Difference of the squared distances to the two centres, linear in the position.
        difference = (2 * down * rows - down**2)[:, None] + (2 * across * columns - across**2)
        inside = (np.abs(rows - down) <= shape[0] / 2)[:, None] & (
            np.abs(columns - across) <= shape[1] / 2
        )
        first = (down, across) < (0, 0)
        result &= ~(inside & ((difference >= 0) if first else (difference > 0)))
    return result


def _starts(length: int, size: int, stride: int) -> list[int]:
    if length <= size:
        return [0]
    return [*range(0, length - size, stride), length - size]
