"""List files of tiles: splits by scene, by blocks of the ground, by a table, or at random."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dnas_mmseg.datasets.configs import SPLITS
from dnas_mmseg.datasets.description import DatasetError
from dnas_mmseg.datasets.labels import IGNORE, LabelEncoding, LabelValue
from dnas_mmseg.datasets.tiles import parse_tile_name
from dnas_mmseg.files import write_text
from dnas_mmseg.raster import ArrayName, parse_array_name

from .pairs import PairContent, have_colours
from .splitting import (
    Footprints,
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
        method: Description of the method, for messages.
        classes: Values of the labels in ascending order, without unlabelled ones.
        pixels: Pixels of each class in each part, (parts, classes).
        distance: Smallest distance between training and test tiles, in metres or pixels of a scene;
            None if unknown, as between scenes without georeferences.
        unit: Unit of ``distance``.
        notes: Notes for the user, one sentence each.
    """

    parts: dict[str, list[PairContent]]
    method: str
    classes: tuple[str, ...]
    pixels: np.ndarray
    distance: float | None = None
    unit: str = 'm'
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
        block_size: Side of the blocks in metres, or in pixels of a scene for tiles without
            georeferences; defaults to one with at least 20 blocks.
        gap: Smallest distance from training tiles to others, in the same unit; nearer training
            tiles are left out, and always those that overlap others.
        labels: Encoding of the labels, to merge values and leave out unlabelled ones.
        names: Class names; default to the stored values.

    Raises:
        DatasetError: Groups are unknown, too few, or the method is.
    """
    parts = sum(share > 0 for share in shares)
    grouped = _GroupedTiles.make(tiles, by, parts, block_size, labels, names)
    return grouped.split(grouped.assign(shares, seed), gap)


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
    grouped = _GroupedTiles.make(tiles, by, folds, block_size, labels, names)
    fold_of = grouped.assign([1] * folds, seed)
    results = []
    for test in range(folds):
        val = (test + 1) % folds
        part_of = np.where(fold_of == test, 2, np.where(fold_of == val, 1, 0))
        results.append(grouped.split(part_of, gap))
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


def remove_folds(root: str | os.PathLike, folds: int, overwrite: bool = False) -> None:
    """Remove the lists of other folds than those that are about to be written.

    Args:
        root: Data root.
        folds: Number of new folds.
        overwrite: Whether lists may be removed.

    Raises:
        DatasetError: There are others, and ``overwrite`` is False.
    """
    number = folds + 1
    while (folder := Path(root) / f'fold{number}').is_dir():
        lists = [folder / f'{name}.txt' for name in SPLITS]
        if any(path.exists() for path in lists) and not overwrite:
            raise DatasetError(f'{folder}: a fold of another split: add --overwrite to remove it')
        for path in lists:
            path.unlink(missing_ok=True)
        number += 1


def _relative(path: str, root: str | os.PathLike) -> str:
    """Return a path, or the name of an array, relative to a folder."""
    array = parse_array_name(path)
    name = array if array is not None else ArrayName(path)
    relative = os.path.relpath(name.file, root)
    reached = os.path.realpath(os.path.join(root, relative))
    if reached != os.path.realpath(name.file):  # '..' of a link is the parent of its target
        folder, file = os.path.split(name.file)
        real = os.path.join(os.path.realpath(folder), file)
        relative = os.path.relpath(real, os.path.realpath(root))
    return str(name._replace(file=Path(relative).as_posix()))


@dataclass(frozen=True)
class _GroupedTiles:
    """Tiles with the groups that stay in one part.

    Attributes:
        tiles: Content of the tiles.
        groups: Number of the group of each tile, (tiles,).
        method: Description of the groups, for messages.
        classes: Class names.
        counts: Pixels of each class in each tile, (tiles, classes).
        footprints: Footprints of the tiles; None if unknown.
        notes: Notes on the groups, one sentence each.
    """

    tiles: Sequence[PairContent]
    groups: np.ndarray
    method: str
    classes: tuple[str, ...]
    counts: np.ndarray
    footprints: Footprints | None
    notes: list[str]

    @classmethod
    def make(
        cls,
        tiles: Sequence[PairContent],
        by: str,
        parts: int,
        block_size: float | None,
        labels: LabelEncoding | None,
        names: Sequence[str],
    ) -> _GroupedTiles:
        """Group tiles for a number of parts; see :func:`split_tiles`."""
        footprints = _footprints(tiles)
        groups, method, notes = _group(tiles, by, parts, footprints, block_size)
        numbers: dict[Hashable, int] = {}
        index = np.array([numbers.setdefault(group, len(numbers)) for group in groups])
        classes, counts = _class_counts(tiles, labels, names)
        return cls(tiles, index, method, classes, counts, footprints, notes)

    def assign(self, shares: Sequence[float], seed: int) -> np.ndarray:
        """Return the part of each tile, (tiles,)."""
        totals = np.zeros((self.groups.max() + 1, self.counts.shape[1]))
        np.add.at(totals, self.groups, self.counts)
        return np.array(assign_groups(totals, shares, seed))[self.groups]

    def split(self, part_of: np.ndarray, gap: float) -> TileSplit:
        """Return the split, without tiles that are too near to those of later parts."""
        part_of, notes = self._leave_out(part_of, gap)
        members = [np.flatnonzero(part_of == part) for part in range(len(SPLITS))]
        pixels = np.array([self.counts[index].sum(0) for index in members])
        distance = None
        if self.footprints is not None and len(members[2]):
            test, train = (self.footprints.select(members[part]) for part in (2, 0))
            nearest = float(measure_distances(test, train)[0].min())
            distance = nearest if nearest < self.footprints.reach else None
            if distance == 0:
                option = '--by blocks' if self.method == 'random' else '--gap'
                notes.append(
                    'training and test tiles touch, and neighbours are similar, which inflates '
                    f'scores: split again by dnas split {option}'
                )
        for part, name in enumerate(SPLITS):
            counts = zip(self.classes, pixels[part], strict=True)
            absent = [label for label, number in counts if not number]
            if absent and len(members[part]):
                notes.append(f'{name} has no pixel of {", ".join(absent)}')
        parts = {
            name: [self.tiles[int(i)] for i in index]
            for name, index in zip(SPLITS, members, strict=True)
        }
        unit = 'm' if self.footprints is None else self.footprints.unit
        return TileSplit(parts, self.method, self.classes, pixels, distance, unit, notes)

    def _leave_out(self, part_of: np.ndarray, gap: float) -> tuple[np.ndarray, list[str]]:
        """Return the part of each tile, -1 for tiles to leave out; and notes.

        Training tiles near those of validation or test are left out, and validation tiles that
        overlap those of the test.
        """
        result, notes = part_of.copy(), list(self.notes)
        if self.footprints is None:
            if gap:
                raise DatasetError(
                    'a gap requires tiles with georeferences, or named <scene>_<row>_<column>'
                )
            return result, notes
        for part, name in enumerate(SPLITS[:2]):
            own, others = np.flatnonzero(result == part), np.flatnonzero(result > part)
            if not len(own) or not len(others):
                continue
            distances, near = measure_distances(
                self.footprints.select(own), self.footprints.select(others)
            )
            reason = 'they overlap tiles of later parts'
            if part == 0 and gap:
                near = near | (distances < min(gap, self.footprints.reach))
                reason += f' or are nearer than {gap:g} {self.footprints.unit} to them'
            if near.any():
                result[own[near]] = -1
                notes.append(
                    f'{int(near.sum())} of {len(own)} tiles of {name} are left out: {reason}'
                )
            if near.all():
                raise DatasetError(f'{notes[-1]}. Use a smaller gap, or larger blocks')
        return result, notes


def _footprints(tiles: Sequence[PairContent]) -> Footprints | None:
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


def _group(
    tiles: Sequence[PairContent],
    by: str,
    parts: int,
    footprints: Footprints | None,
    block_size: float | None,
) -> tuple[list[Hashable], str, list[str]]:
    """Return the group of each tile, a description of the groups, and notes."""
    places = [parse_tile_name(tile.image) for tile in tiles]
    scenes = [place[0] if place else None for place in places]
    notes: list[str] = []
    if not by:
        enough = None not in scenes and len(set(scenes)) >= parts
        by = 'scene' if enough else 'blocks' if footprints is not None else 'random'
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
        if footprints is None:
            raise DatasetError(
                'a tile has no georeference and no scene in its name (<scene>_<row>_<column>), one '
                'of which --by blocks requires: split by csv:FILE:COLUMN'
            )
        clusters = group_touching(footprints)
        sizes = np.bincount(clusters)
        if block_size is None and len(sizes) >= _MIN_CLUSTERS and max(sizes) <= len(tiles) / 4:
            return list(clusters), f'by {len(sizes)} groups of touching tiles', notes
        if footprints.unit == 'pixels' and len(set(scenes)) > 1:
            return (
                _blocks_of_scenes(scenes, footprints, block_size), 'by blocks of each scene', notes,
            )  # fmt: skip
        blocks, side = group_by_blocks(footprints, block_size)
        return blocks, f'by {len(set(blocks))} blocks of {side:.4g} {footprints.unit}', notes
    if by == 'random':
        return [tile.image for tile in tiles], 'random', notes
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
    try:
        with open(path, encoding='utf-8-sig', newline='') as file:
            reader = csv.DictReader(file)
            header, rows = list(reader.fieldnames or ()), list(reader)
    except OSError as error:
        raise DatasetError(f'{path}: cannot be read ({error.strerror})') from None
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


def _class_counts(
    tiles: Sequence[PairContent], labels: LabelEncoding | None, names: Sequence[str]
) -> tuple[tuple[str, ...], np.ndarray]:
    """Return class names and the pixels of each class in each tile, (tiles, classes)."""
    codes: dict[LabelValue, int]
    coloured = have_colours(tiles) if labels is None else labels.is_coloured
    counted = [tile.colours if coloured else tile.values for tile in tiles]
    if labels is None:
        found = {value for tile in counted for value, pixels in tile.items() if pixels}
        values = sorted(found, key=lambda value: value if isinstance(value, tuple) else (value,))
        codes = {value: i for i, value in enumerate(values)}
        names = tuple(map(str, values))
    else:
        codes = {value: i for value, i in labels.codes.items() if i != IGNORE}
        names = tuple(names)
    counts = np.zeros((len(tiles), len(names)))
    for row, tile in zip(counts, counted, strict=True):
        merged: Counter[int] = Counter()
        for value, pixels in tile.items():
            if value in codes:
                merged[codes[value]] += pixels
        for label, pixels in merged.items():
            row[label] = pixels
    return names, counts
