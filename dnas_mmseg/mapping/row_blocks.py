"""Blocks of rows of a scene, which separate processes predict."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from dnas_mmseg.classes import NO_CLASS, ClassScheme
from dnas_mmseg.raster import Raster, RasterInfo, Window, write_strips

from .products import MapProducts, RasterProduct, map_grid

_TILE = 512
"""Side of the tiles of maps, in pixels: blocks are copied in windows of whole tiles."""


class RowBlock(NamedTuple):
    """Rows of a scene, from ``top`` to before ``bottom``."""

    top: int
    bottom: int


def split_rows(
    height: int, windows: Sequence[Window], overlap: int, min_rows: int, max_blocks: int
) -> list[RowBlock]:
    """Divide a scene into blocks of about equal numbers of rows of windows.

    Blocks end where the next row of windows begins to have weight. A block then requires one row
    of windows of its upper neighbour in addition to its own (more if windows overlap by more than
    half), which is predicted twice.

    Args:
        height: Height of the scene, in pixels.
        windows: All windows of the scene, row by row.
        overlap: Number of pixels shared by neighbouring windows.
        min_rows: Smallest number of rows of windows of a block.
        max_blocks: Largest number of blocks.

    Returns:
        Blocks from top to bottom, at least one, without gaps.

    Example:
        >>> windows = [Window(0, row, 512, 512) for row in (0, 384, 768, 1152)]
        >>> split_rows(1664, windows, 128, min_rows=2, max_blocks=8)
        [RowBlock(top=0, bottom=800), RowBlock(top=800, bottom=1664)]
    """
    rows = sorted({window.row_off for window in windows})
    count = max(1, min(max_blocks, len(rows) // min_rows))
    first = [rows[len(rows) * i // count] for i in range(count)]
    edges = [0, *(row + overlap // 4 for row in first[1:]), height]
    return [RowBlock(top, bottom) for top, bottom in pairwise(edges)]


def select_windows(
    windows: Sequence[Window], block: RowBlock, height: int, overlap: int
) -> list[Window]:
    """Return the windows that have weight in the rows of a block.

    The outermost quarter of the overlap has none
    (:func:`dnas_mmseg.mapping.blending.blending_weights`).

    Args:
        windows: All windows of the scene, row by row.
        block: The block.
        height: Height of the scene, in pixels.
        overlap: Number of pixels shared by neighbouring windows.
    """
    margin = overlap // 4
    selected = []
    for window in windows:
        bottom = window.row_off + window.height
        first = window.row_off + (margin if window.row_off > 0 else 0)
        last = bottom - (margin if bottom < height else 0)
        if first < block.bottom and last > block.top:
            selected.append(window)
    return selected


def join_blocks(
    info: RasterInfo,
    target: str | os.PathLike,
    blocks: Sequence[RowBlock],
    folder: str | os.PathLike,
    classes: ClassScheme,
    products: MapProducts = MapProducts(),  # noqa: B008  immutable
    weights: str = '',
) -> None:
    """Write the map of a scene from the rows written by
    :func:`dnas_mmseg.mapping.scene.predict_block`.

    The files equal those of :func:`dnas_mmseg.mapping.scene.predict_scene` to the byte.

    Args:
        info: Metadata of the scene.
        target: Path of the map.
        blocks: All blocks of the scene.
        folder: Folder of the rows.
        classes: Names and colours of the classes.
        products: Rasters to write in addition to the map.
        weights: Checksum of the network; empty if unknown.

    Raises:
        RasterError: A block is missing or damaged, or a map cannot be written.
    """
    with ExitStack() as stack:
        for product in products.rasters:
            writer = write_strips(
                product.path(Path(target)), **product.layout(classes), **map_grid(info, weights)
            )
            write = stack.enter_context(writer)
            for block in blocks:
                with Raster(block_path(folder, product, block)) as rows:
                    for window in _join_windows(block, info.width):
                        samples = rows.read(window)
                        if (samples != NO_CLASS).any():
                            write(samples, block.top + window.row_off, window.col_off)


def block_path(folder: str | os.PathLike, product: RasterProduct, block: RowBlock) -> Path:
    """Return the path of the rows of a block in one raster product."""
    return Path(folder) / f'{product.kind}_{block.top}.tif'


def _join_windows(block: RowBlock, width: int) -> Iterator[Window]:
    """Yield windows of a block's file that do not cross the borders of tiles of the map."""
    for row in range(block.top // _TILE * _TILE, block.bottom, _TILE):
        top, bottom = max(row, block.top), min(row + _TILE, block.bottom)
        for column in range(0, width, 8 * _TILE):
            yield Window(column, top - block.top, min(8 * _TILE, width - column), bottom - top)
