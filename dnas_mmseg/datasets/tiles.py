"""Tiles of a scene: their windows, their names, and which of their pixels count."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dnas_mmseg.raster import Window

_TILE_NAME = re.compile(r'(.+)_(\d+)_(\d+)')
MANIFEST = 'manifest'
"""Folder of the records of what a data root's tiles were cut from, a file per scene."""


def tile_windows(height: int, width: int, size: int, stride: int) -> list[Window]:
    """Return windows that cover a scene; the last row and column are moved inwards to fit.

    A scene smaller than ``size`` has one window that is larger than it in that direction.
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
    """Return scene, row and column from a tile's name; None where the name has none."""
    match = _TILE_NAME.fullmatch(Path(path).stem)
    return None if match is None else (match[1], int(match[2]), int(match[3]))


def count_once_mask(shape: tuple[int, int], neighbours: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return the mask of a tile's pixels that count here, so that each counts in one tile.

    A pixel counts in the tile whose centre is nearest, where a network sees most around it. Of two
    tiles as near it counts in the upper left one.

    Args:
        shape: Height and width of the tiles.
        neighbours: Offsets (rows, columns) from this tile to each one that overlaps it.

    Returns:
        Boolean mask, (height, width).
    """
    rows, columns = (np.arange(length) - (length - 1) / 2 for length in shape)
    result = np.ones(shape, bool)
    for down, across in neighbours:
        # The difference of the squared distances to the two centres; linear in the position.
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
