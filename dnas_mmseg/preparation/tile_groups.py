"""Groups of tiles that stay in one part of a split: scenes, blocks of the ground, or a table."""

from __future__ import annotations

import csv
from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np

from dnas_mmseg.datasets.description import DatasetError
from dnas_mmseg.datasets.tiles import parse_tile_name

from .pairs import PairContent
from .splitting import (
    Footprints,
    group_by_blocks,
    group_touching,
    locate,
    measure_shared_ground,
)

_MAX_SHARED = 0.5
"""Share of tiles on the ground of other scenes above which tiles are not split by scene."""

_MIN_CLUSTERS = 10
"""Number of groups of touching tiles from which they are split instead of square blocks."""


def tile_footprints(tiles: Sequence[PairContent]) -> Footprints | None:
    """Return the tiles' footprints, from georeferences or from names with scenes."""
    located = locate((tile.georeference, tile.shape) for tile in tiles)
    if located is not None:
        return located
    places = [place for tile in tiles if (place := parse_tile_name(tile.image))]
    if len(places) < len(tiles):
        return None
    corners = np.array([(column, row) for _, row, column in places], float)
    sizes = np.array([tile.shape[::-1] for tile in tiles], float)
    _, scenes = np.unique([scene for scene, _, _ in places], return_inverse=True)
    steps: list[float] = []
    for axis in corners.T:
        order = np.lexsort((axis, scenes))
        distances, is_other = np.diff(axis[order]), np.diff(scenes[order]) > 0
        steps += distances[(distances > 0) & ~is_other].tolist()
    # Numbers of tiles, not pixels; a single small step is that of a last tile moved inwards.
    if steps and np.median(steps) < sizes.min() / 8:
        corners *= sizes.max(0)
    boxes = np.concatenate([corners, corners + sizes], axis=1)
    extent = float(boxes.max())
    boxes[:, ::2] += 4 * extent * scenes[:, None]
    return Footprints(boxes, unit='pixels', reach=3 * extent)


def group_tiles(
    tiles: Sequence[PairContent],
    by: str,
    parts: int,
    footprints: Footprints | None,
    block_size: float | None,
) -> tuple[list[Hashable], str, str, list[str]]:
    """Group tiles.

    Args:
        tiles: Content of the tiles.
        by: Method of :func:`dnas_mmseg.preparation.tile_lists.split_tiles`; empty for the default.
        parts: Number of parts to split the groups into.
        footprints: Footprints of the tiles; None if unknown.
        block_size: Side of the blocks; None for the default.

    Returns:
        Group of each tile; the method, ``'scene'``, ``'blocks'``, ``'csv'`` or ``'random'``; a
        description of the groups; and notes, one sentence each.

    Raises:
        DatasetError: The method does not exist, or the tiles do not allow it.
    """
    places = [parse_tile_name(tile.image) for tile in tiles]
    scenes = [place[0] if place else None for place in places]
    notes: list[str] = []
    if not by:
        enough = None not in scenes and len(set(scenes)) >= parts
        by = 'scene' if enough else 'blocks' if footprints is not None else 'random'
        # The first part of <date>_<row>_<column> is no scene.
        if (
            by == 'scene'
            and footprints is not None
            and footprints.unit == 'm'
            and measure_shared_ground(footprints, scenes) > _MAX_SHARED
        ):
            by = 'blocks'
            notes.append(
                f'the scenes in the names of the tiles ({scenes[0]}, ...) show the same ground, as '
                'dates do: split by blocks of the ground instead'
            )
        if by == 'random':
            notes.append(
                'the tiles have neither scenes in their names (<scene>_<row>_<column>) nor '
                'georeferences: split at random, which inflates scores if tiles are neighbours'
            )
    if by.startswith('csv:'):
        groups, column = _read_groups(tiles, by)
        return groups, 'csv', f'by {column} of a table', notes
    if by == 'scene':
        unnamed = next((t.image for t, s in zip(tiles, scenes, strict=True) if s is None), None)
        if unnamed:
            raise DatasetError(
                f'{unnamed}: no scene in its name, expected <scene>_<row>_<column>: split by '
                'blocks, or by csv:FILE:COLUMN'
            )
        return list(scenes), 'scene', f'by scene ({len(set(scenes))})', notes
    if by == 'blocks':
        if footprints is None:
            raise DatasetError(
                'a tile has no georeference and no scene in its name (<scene>_<row>_<column>), one '
                'of which --by blocks requires: split by csv:FILE:COLUMN'
            )
        clusters = group_touching(footprints)
        sizes = np.bincount(clusters)
        if block_size is None and len(sizes) >= _MIN_CLUSTERS and max(sizes) <= len(tiles) / 4:
            return list(clusters), by, f'by {len(sizes)} groups of touching tiles', notes
        if footprints.unit == 'pixels' and len(set(scenes)) > 1:
            blocks = _blocks_of_scenes(scenes, footprints, block_size)
            return blocks, by, 'by blocks of each scene', notes
        blocks, side = group_by_blocks(footprints, block_size)
        return blocks, by, f'by {len(set(blocks))} blocks of {side:.4g} {footprints.unit}', notes
    if by == 'random':
        return [tile.image for tile in tiles], by, 'random', notes
    raise DatasetError(f"--by '{by}': choose scene, blocks, random, or csv:FILE:COLUMN")


def _blocks_of_scenes(
    scenes: Sequence[str | None], footprints: Footprints, block_size: float | None
) -> list[Hashable]:
    """Return a block of its scene for each tile."""
    members: dict[str | None, list[int]] = {}
    for i, scene in enumerate(scenes):
        members.setdefault(scene, []).append(i)
    groups: list[Hashable] = [None] * len(scenes)
    for scene, index in members.items():
        blocks, _ = group_by_blocks(footprints.select(np.array(index)), block_size)
        for i, block in zip(index, blocks, strict=True):
            groups[i] = scene, block
    return groups


def _read_groups(tiles: Sequence[PairContent], by: str) -> tuple[list[Hashable], str]:
    """Return the group of each tile from a table, and the name of the column."""
    path, _, column = by.removeprefix('csv:').rpartition(':')
    if not path or not column:
        raise DatasetError(f"--by '{by}': expected csv:FILE:COLUMN")
    try:
        with open(path, encoding='utf-8-sig', newline='') as file:
            reader = csv.DictReader(file)
            header, rows = list(reader.fieldnames or ()), list(reader)
    except OSError as error:
        raise DatasetError(f'{path}: cannot be read ({error.strerror})') from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f'{path} is no CSV table in UTF-8 ({error}): save it again in this format'
        ) from None
    if column not in header:
        raise DatasetError(f"{path}: no column '{column}'; columns: {', '.join(header)}")
    groups = {row[header[0]]: row[column] for row in rows if row[header[0]]}
    groups = {**{Path(name).stem: group for name, group in groups.items()}, **groups}
    missing = [tile.name for tile in tiles if tile.name not in groups]
    if missing:
        raise DatasetError(
            f"{path}: no row for {len(missing)} tiles, such as '{missing[0]}' (names are in column "
            f"'{header[0]}')"
        )
    return [groups[tile.name] for tile in tiles], column
