"""List files of tiles: splits by scene, by blocks of the ground, by a table, or at random."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dnas_mmseg.datasets.description import DatasetError
from dnas_mmseg.datasets.labels import IGNORE, LabelEncoding, LabelValue
from dnas_mmseg.datasets.tiles import parse_tile_name
from dnas_mmseg.files import write_text
from dnas_mmseg.raster import ArrayName, parse_array_name

from .pairs import PairContent
from .scenes import SPLITS
from .splitting import (
    assign_groups,
    group_by_blocks,
    group_touching,
    locate,
    measure_distances,
)

_MIN_CLUSTERS = 10
"""Number of groups of touching tiles from which they are split instead of square blocks."""


@dataclass
class TileSplit:
    """Split of tiles.

    Attributes:
        parts: Tiles of each part.
        method: How the tiles were split, for people.
        classes: Values of the labels in ascending order, without unlabelled ones.
        pixels: Pixels of each class in each part, (parts, classes).
        distance: Smallest distance between training and test tiles in metres; None if unknown.
        notes: Notes for the user, one sentence each.
    """

    parts: dict[str, list[PairContent]]
    method: str
    classes: tuple[str, ...]
    pixels: np.ndarray
    distance: float | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def shares(self) -> np.ndarray:
        """Share of each part in the pixels of each class, (parts, classes)."""
        return self.pixels / self.pixels.sum(0).clip(min=1)


def split_tiles(
    tiles: Sequence[PairContent],
    shares: Sequence[float] = (0.6, 0.2, 0.2),
    *,
    by: str = '',
    seed: int = 0,
    block_size: float | None = None,
    gap: float = 0.0,
    labels: LabelEncoding | None = None,
    names: Sequence[str] = (),
) -> TileSplit:
    """Split tiles into train, val and test, with the share of every class in each part.

    Args:
        tiles: Content of the tiles.
        shares: Target shares of the parts; they need not sum to 1.
        by: ``'scene'`` (tiles named ``<scene>_<row>_<column>``), ``'blocks'`` (by georeference:
            groups of touching tiles if they are many and small, else squares of the ground),
            ``'csv:FILE:COLUMN'`` (a group per tile; the first column of the file has the tiles'
            names), or ``'random'``. Defaults to the first of scene, blocks and random that the
            tiles allow.
        seed: Seed of the order in which groups are assigned.
        block_size: Side of the blocks in metres; defaults to one with at least 20 blocks.
        gap: Smallest distance in metres from training tiles to others; nearer training tiles are
            left out, and always those that overlap others.
        labels: Encoding of the labels, to merge values and leave out unlabelled ones.
        names: Class names; default to the stored values.

    Raises:
        DatasetError: Groups are unknown, too few, or the method is.
    """
    boxes = _footprints(tiles)
    groups, method, notes = _group(tiles, by, len([s for s in shares if s > 0]), boxes, block_size)
    classes, counts = _class_counts(tiles, labels, names)
    index = _index(groups)
    totals = np.zeros((index.max() + 1, counts.shape[1]))
    np.add.at(totals, index, counts)
    part_of = np.array(assign_groups(totals, shares, seed))[index]
    return _result(tiles, part_of, method, classes, counts, boxes, gap, notes)


def split_folds(
    tiles: Sequence[PairContent],
    folds: int,
    *,
    by: str = '',
    seed: int = 0,
    block_size: float | None = None,
    gap: float = 0.0,
    labels: LabelEncoding | None = None,
    names: Sequence[str] = (),
) -> list[TileSplit]:
    """Split tiles into folds for cross-validation.

    Each fold is once the test part; the next one is then the validation part.

    Args:
        tiles: Content of the tiles.
        folds: Number of folds, at least 3.
        by, seed, block_size, gap, labels, names: Arguments of :func:`split_tiles`.

    Raises:
        DatasetError: There are too few folds or groups.
    """
    if folds < 3:
        raise DatasetError(f'{folds} folds: expected at least 3, for train, val and test')
    boxes = _footprints(tiles)
    groups, method, notes = _group(tiles, by, folds, boxes, block_size)
    classes, counts = _class_counts(tiles, labels, names)
    index = _index(groups)
    totals = np.zeros((index.max() + 1, counts.shape[1]))
    np.add.at(totals, index, counts)
    fold_of = np.array(assign_groups(totals, [1] * folds, seed))[index]
    results = []
    for test in range(folds):
        val = (test + 1) % folds
        part_of = np.where(fold_of == test, 2, np.where(fold_of == val, 1, 0))
        results.append(_result(tiles, part_of, method, classes, counts, boxes, gap, notes))
    return results


def write_lists(
    parts: Mapping[str, Sequence[PairContent]],
    root: str | os.PathLike,
    folder: str | os.PathLike | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write the list files of parts, with paths relative to the data root.

    Args:
        parts: Tiles of each part.
        root: Data root.
        folder: Folder of the lists; defaults to the data root.
        overwrite: Whether to overwrite lists.

    Raises:
        DatasetError: A list exists, and ``overwrite`` is False.
    """
    paths = {name: Path(folder or root) / f'{name}.txt' for name in parts}
    existing = [path for path in paths.values() if path.exists()]
    if existing and not overwrite:
        raise DatasetError(f'{existing[0]} exists: add --overwrite to replace it')
    for name, tiles in parts.items():
        lines = [f'{_relative(tile.image, root)}\t{_relative(tile.label, root)}' for tile in tiles]
        write_text(paths[name], ''.join(f'{line}\n' for line in lines))
    return list(paths.values())


def _relative(path: str, root: str | os.PathLike) -> str:
    """Return a path, or the name of an array, relative to a folder."""
    array = parse_array_name(path)
    name = array if array is not None else ArrayName(path)
    return str(name._replace(file=Path(os.path.relpath(name.file, root)).as_posix()))


def _index(groups: Sequence[Hashable]) -> np.ndarray:
    """Return the number of each item's group, in the order of their first items."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in groups])


def _result(
    tiles: Sequence[PairContent],
    part_of: np.ndarray,
    method: str,
    classes: tuple[str, ...],
    counts: np.ndarray,
    boxes: np.ndarray | None,
    gap: float,
    notes: Sequence[str],
) -> TileSplit:
    """Return a split, without the training tiles that are too near to others."""
    found, distance = list(notes), None
    train, others = np.flatnonzero(part_of == 0), np.flatnonzero(part_of > 0)
    if boxes is not None and len(others):
        distances, overlaps = measure_distances(boxes[train], boxes[others])
        near = overlaps | (distances < gap)
        if near.any():
            part_of = part_of.copy()
            part_of[train[near]] = -1
            found.append(
                f'{int(near.sum())} of {len(train)} training tiles overlap tiles of val or test, '
                f'or are nearer than {gap:g} m to them: left out'
            )
            if near.all():
                raise DatasetError(f'{found[-1]}. Use a smaller gap, or larger blocks')
    elif gap:
        raise DatasetError('a gap requires georeferenced tiles')
    members = [np.flatnonzero(part_of == part) for part in range(len(SPLITS))]
    pixels = np.array([counts[index].sum(0) for index in members])
    if boxes is not None and len(members[2]):
        distance = float(measure_distances(boxes[members[2]], boxes[members[0]])[0].min())
        if method == 'random' and distance == 0:
            found.append(
                'neighbours touch across the parts of a random split, which inflates scores: '
                'split by blocks (--by blocks)'
            )
    for part, name in enumerate(SPLITS):
        absent = [label for label, n in zip(classes, pixels[part], strict=True) if not n]
        if absent and len(members[part]):
            found.append(f'{name} has no pixel of {", ".join(absent)}')
    parts = {
        name: [tiles[int(i)] for i in index] for name, index in zip(SPLITS, members, strict=True)
    }
    return TileSplit(parts, method, classes, pixels, distance, found)


def _footprints(tiles: Sequence[PairContent]) -> np.ndarray | None:
    """Return the tiles' footprints, from georeferences or positions in one scene, or None."""
    boxes = locate((tile.georeference, tile.shape) for tile in tiles)
    if boxes is not None:
        return boxes
    places = [parse_tile_name(tile.image) for tile in tiles]
    if None in places or len({place[0] for place in places if place}) != 1:
        return None
    return np.array(
        [
            [column, row, column + tile.shape[1], row + tile.shape[0]]
            for (_, row, column), tile in zip(filter(None, places), tiles, strict=True)
        ],
        float,
    )


def _group(
    tiles: Sequence[PairContent],
    by: str,
    parts: int,
    boxes: np.ndarray | None,
    block_size: float | None,
) -> tuple[list[Hashable], str, list[str]]:
    """Return the group of each tile, the method for people, and notes."""
    places = [parse_tile_name(tile.image) for tile in tiles]
    scenes = [place[0] if place else None for place in places]
    notes = []
    if not by:
        named = None not in scenes and len(set(scenes)) >= parts
        by = 'scene' if named else 'blocks' if boxes is not None else 'random'
        if by == 'random':
            notes.append(
                'the tiles have neither scenes in their names (<scene>_<row>_<column>) nor '
                'georeferences: split at random, which inflates scores if tiles are neighbours'
            )
    if by.startswith('csv:'):
        groups, column = _read_groups(tiles, by)
        return groups, f'by {column} of a table', notes
    if by == 'scene':
        unnamed = next((t.image for t, s in zip(tiles, scenes, strict=True) if s is None), None)
        if unnamed:
            raise DatasetError(
                f'{unnamed}: no scene in its name, expected <scene>_<row>_<column>: split by '
                'blocks, or by csv:FILE:COLUMN'
            )
        return list(scenes), f'by scene ({len(set(scenes))})', notes
    if by == 'blocks':
        if boxes is None:
            raise DatasetError(
                'a tile has no georeference, which --by blocks requires: split by scene, or by '
                'csv:FILE:COLUMN'
            )
        clusters = group_touching(boxes)
        sizes = np.bincount(clusters)
        if block_size is None and len(sizes) >= _MIN_CLUSTERS and max(sizes) <= len(tiles) / 4:
            return list(clusters), f'by {len(sizes)} groups of touching tiles', notes
        blocks, side = group_by_blocks(boxes, block_size)
        return blocks, f'by {len(set(blocks))} blocks of {side:.4g} m', notes
    if by == 'random':
        return [tile.image for tile in tiles], 'random', notes
    raise DatasetError(f"--by '{by}': choose scene, blocks, random, or csv:FILE:COLUMN")


def _read_groups(tiles: Sequence[PairContent], by: str) -> tuple[list[Hashable], str]:
    """Return the group of each tile from a table, and the name of the column."""
    _, path, column = (*by.split(':'), '', '')[:3]
    try:
        with open(path, encoding='utf-8-sig', newline='') as file:
            reader = csv.DictReader(file)
            header, rows = list(reader.fieldnames or ()), list(reader)
    except OSError as error:
        raise DatasetError(f'{path}: cannot be read ({error.strerror})') from None
    if column not in header:
        raise DatasetError(f"{path}: no column '{column}'; columns: {', '.join(header)}")
    groups = {Path(row[header[0]]).stem: row[column] for row in rows if row[header[0]]}
    missing = [tile.name for tile in tiles if tile.name not in groups]
    if missing:
        raise DatasetError(
            f"{path}: no row for {len(missing)} tiles, such as '{missing[0]}' (names are in column "
            f"'{header[0]}')"
        )
    return [groups[tile.name] for tile in tiles], column


def _class_counts(
    tiles: Sequence[PairContent], labels: LabelEncoding | None, names: Sequence[str]
) -> tuple[tuple[str, ...], np.ndarray]:
    """Return class names and the pixels of each class in each tile, (tiles, classes)."""
    codes: dict[LabelValue, int]
    if labels is None:
        found = {value for tile in tiles for value in tile.values}
        values = sorted(found, key=lambda value: value if isinstance(value, tuple) else (value,))
        codes = {value: i for i, value in enumerate(values)}
        names = tuple(map(str, values))
    else:
        codes = {value: i for value, i in labels.codes.items() if i != IGNORE}
        names = tuple(names)
    counts = np.zeros((len(tiles), len(names)))
    for row, tile in zip(counts, tiles, strict=True):
        merged: Counter[int] = Counter()
        for value, pixels in tile.values.items():
            if value in codes:
                merged[codes[value]] += pixels
        for label, pixels in merged.items():
            row[label] = pixels
    return names, counts
