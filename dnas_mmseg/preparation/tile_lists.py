"""List files of tiles: splits by scene, by blocks of the ground, by a table, or at random."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dnas_mmseg.datasets.configs import SPLITS
from dnas_mmseg.datasets.description import DatasetError
from dnas_mmseg.datasets.labels import IGNORE, LabelEncoding, LabelValue
from dnas_mmseg.files import write_text
from dnas_mmseg.raster import ArrayName, parse_array_name

from .folder_split import describe_folders
from .pairs import PairContent, have_colours
from .splitting import Footprints, assign_groups, measure_distances
from .tile_groups import group_tiles, tile_footprints


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
    folders: Sequence[str] = (),
    seed: int = 0,
    block_size: float | None = None,
    gap: float = 0.0,
    labels: LabelEncoding | None = None,
    names: Sequence[str] = (),
    command: str = 'dnas split',
) -> TileSplit:
    """Split tiles into train, val and test, with the share of every class in each part.

    Args:
        tiles: Content of the tiles.
        shares: Target shares of the parts; they need not sum to 1.
        by: ``'scene'`` (tiles named ``<scene>_<row>_<column>``), ``'blocks'`` (by georeference:
            groups of touching tiles if they are many and small, else squares of the ground),
            ``'csv:FILE:COLUMN'`` (a group per tile; the first column of the file has the tiles'
            names), or ``'random'``. Defaults to the first of scene, blocks and random that the
            tiles allow; scenes must not show the same ground.
        folders: Part of each tile by its folder (:func:`.folder_split.folder_split`), instead of
            groups; a part without a folder is split from the training tiles. Empty for none.
        seed: Seed of the order in which groups are assigned.
        block_size: Side of the blocks in metres, or in pixels of a scene for tiles without
            georeferences; defaults to one with at least 20 blocks.
        gap: Smallest distance from training tiles to others, in the same unit; nearer training
            tiles are left out, and always those that overlap others.
        labels: Encoding of the labels, to merge values and leave out unlabelled ones.
        names: Class names; default to the stored values.
        command: Command that splits the tiles again, for notes.

    Raises:
        DatasetError: Groups are unknown, too few, or the method is.
    """
    if folders:
        return _split_by_folders(tiles, folders, shares, seed, labels, names, command)
    parts = sum(share > 0 for share in shares)
    grouped = _GroupedTiles.make(tiles, by, parts, block_size, labels, names, command)
    return grouped.split(*grouped.leave_out(grouped.assign(shares, seed), gap))


def _split_by_folders(
    tiles: Sequence[PairContent],
    folders: Sequence[str],
    shares: Sequence[float],
    seed: int,
    labels: LabelEncoding | None,
    names: Sequence[str],
    command: str,
) -> TileSplit:
    """Split tiles by their folders; a part without a folder is split from the training tiles."""
    part_of = np.array([SPLITS.index(folder) for folder in folders])
    method, notes = describe_folders(folders)
    absent = [part for part in range(len(SPLITS)) if part not in part_of]
    if absent:
        index = np.flatnonzero(part_of == 0)
        chosen = [share if part in (0, *absent) else 0 for part, share in enumerate(shares)]
        training = _GroupedTiles.make([tiles[int(i)] for i in index], '', 2, None, labels, names)
        part_of[index], more = training.leave_out(training.assign(chosen, seed), 0)
        notes += more
    notes.append('--by scene, blocks or random splits all tiles instead')
    groups = np.arange(len(tiles))
    classes, counts = _class_counts(tiles, labels, names)
    grouped = _GroupedTiles(
        tiles, groups, 'folders', method, classes, counts, tile_footprints(tiles), notes, command
    )
    return grouped.split(part_of, notes)


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
        results.append(grouped.split(*grouped.leave_out(part_of, gap)))
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
        by: ``'scene'``, ``'blocks'``, ``'csv'``, ``'random'`` or ``'folders'``.
        method: Description of the groups, for messages.
        classes: Class names.
        counts: Pixels of each class in each tile, (tiles, classes).
        footprints: Footprints of the tiles; None if unknown.
        notes: Notes on the groups, one sentence each.
        command: Command that splits the tiles again.
    """

    tiles: Sequence[PairContent]
    groups: np.ndarray
    by: str
    method: str
    classes: tuple[str, ...]
    counts: np.ndarray
    footprints: Footprints | None
    notes: list[str]
    command: str = 'dnas split'

    @classmethod
    def make(
        cls,
        tiles: Sequence[PairContent],
        by: str,
        parts: int,
        block_size: float | None,
        labels: LabelEncoding | None,
        names: Sequence[str],
        command: str = 'dnas split',
    ) -> _GroupedTiles:
        """Group tiles for a number of parts; see :func:`split_tiles`."""
        footprints = tile_footprints(tiles)
        groups, by, method, notes = group_tiles(tiles, by, parts, footprints, block_size)
        numbers: dict[Hashable, int] = {}
        index = np.array([numbers.setdefault(group, len(numbers)) for group in groups])
        classes, counts = _class_counts(tiles, labels, names)
        return cls(tiles, index, by, method, classes, counts, footprints, notes, command)

    def assign(self, shares: Sequence[float], seed: int) -> np.ndarray:
        """Return the part of each tile, (tiles,)."""
        totals = np.zeros((self.groups.max() + 1, self.counts.shape[1]))
        np.add.at(totals, self.groups, self.counts)
        return np.array(assign_groups(totals, shares, seed))[self.groups]

    def split(self, part_of: np.ndarray, notes: Sequence[str]) -> TileSplit:
        """Return the split of tiles with these parts, -1 for none, and notes."""
        notes = list(notes)
        members = [np.flatnonzero(part_of == part) for part in range(len(SPLITS))]
        pixels = np.array([self.counts[index].sum(0) for index in members])
        distance = None
        if self.footprints is not None and len(members[2]):
            test, train = (self.footprints.select(members[part]) for part in (2, 0))
            nearest = float(measure_distances(test, train)[0].min())
            distance = nearest if nearest < self.footprints.reach else None
            if distance == 0:
                is_scattered = self.by in ('random', 'folders')
                option = '--by blocks' if is_scattered else '--gap DISTANCE'
                notes.append(
                    'training and test tiles touch, and neighbours are similar, which inflates '
                    f'scores: split again by {self.command} {option} --overwrite'
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

    def leave_out(self, part_of: np.ndarray, gap: float) -> tuple[np.ndarray, list[str]]:
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
                if gap:
                    remedy = 'a smaller --gap or a larger --block-size'
                elif self.by == 'blocks':
                    remedy = '--by csv:FILE:COLUMN with larger groups'
                else:
                    remedy = '--by blocks'
                raise DatasetError(f'{notes[-1]}. Use {remedy}')
        return result, notes


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
