"""Detection of duplicate and overlapping tiles, within a list and across splits."""

from __future__ import annotations

import os
from collections import defaultdict
from itertools import combinations, product
from typing import NamedTuple

import numpy as np

from .checks import PairReport


class _Box(NamedTuple):
    """Extent of a tile in the units of its CRS."""

    image: str
    west: float
    south: float
    east: float
    north: float
    pixel: float


class TileRegister:
    """Register of the tiles of a data set that detects duplicates.

    Tiles are duplicates if their samples are equal, whatever the files' names (copies, links,
    another spelling of the path). Tiles with a single value per band, such as sea, are compared by
    path only.
    """

    def __init__(self) -> None:
        self._tiles: dict[object, list[tuple[str, str]]] = defaultdict(list)
        self._boxes: dict[str, dict[str, list[_Box]]] = defaultdict(lambda: defaultdict(list))

    def add(self, split: str, report: PairReport) -> None:
        """Add a tile.

        Args:
            split: Name of the tile's split.
            report: Report on the tile, with statistics.
        """
        key = report.digest if _varies(report) else os.path.realpath(report.image)
        self._tiles[key].append((split, report.image))
        georeference = report.georeference
        if georeference.transform is None or not georeference.crs or report.shape is None:
            return
        height, width = report.shape
        x, dx, across, y, down, dy = georeference.transform
        xs = [x + c * dx + r * across for c, r in product((0, width), (0, height))]
        ys = [y + c * down + r * dy for c, r in product((0, width), (0, height))]
        pixel = max(abs(dx) + abs(across), abs(down) + abs(dy))
        box = _Box(report.image, min(xs), min(ys), max(xs), max(ys), pixel)
        self._boxes[georeference.crs][split].append(box)

    def problems(self) -> list[str]:
        """Return an error for each pair of splits that share tiles, which inflates scores."""
        shared: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
        for tiles in self._tiles.values():
            first: dict[str, str] = {}
            for split, image in tiles:
                first.setdefault(split, image)
            for one, other in combinations(first, 2):
                shared[one, other].append((first[one], first[other]))
        return [
            f'{len(found)} tiles are in {one} and in {other}, e.g. {_example(found)}'
            for (one, other), found in shared.items()
        ]

    def warnings(self) -> list[str]:
        """Return a warning for each list with duplicates and each pair of overlapping splits."""
        twice: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for tiles in self._tiles.values():
            first: dict[str, str] = {}
            for split, image in tiles:
                if split in first:
                    twice[split].append((first[split], image))
                first.setdefault(split, image)
        lines = [
            f'{len(found)} tiles are in {split} more than once, e.g. {_example(found)}'
            for split, found in twice.items()
        ]
        overlapping: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
        for splits in self._boxes.values():
            for one, other in combinations(splits, 2):
                overlapping[one, other] += self._overlaps(splits[one], splits[other])
        lines += [
            f'{len({a for a, _ in found})} tiles of {one} overlap tiles of {other} on the ground, '
            f'e.g. {_example(found)}: this inflates scores'
            for (one, other), found in overlapping.items()
            if found
        ]
        return lines

    def _overlaps(self, first: list[_Box], second: list[_Box]) -> list[tuple[str, str]]:
        """Return the pairs of distinct tiles that overlap by more than half a pixel."""
        group = {image: i for i, tiles in enumerate(self._tiles.values()) for _, image in tiles}
        size = max(max(b.east - b.west, b.north - b.south) for b in (*first, *second))
        cells = defaultdict(list)
        for box in second:
            cells[int(box.west // size), int(box.south // size)].append(box)
        pairs = []
        for box in first:
            column, row = int(box.west // size), int(box.south // size)
            near = product(range(column - 1, column + 2), range(row - 1, row + 2))
            for other in (other for cell in near for other in cells.get(cell, ())):
                half = 0.5 * max(box.pixel, other.pixel)
                wide = min(box.east, other.east) - max(box.west, other.west)
                high = min(box.north, other.north) - max(box.south, other.south)
                if wide > half and high > half and group[box.image] != group[other.image]:
                    pairs.append((box.image, other.image))
        return pairs


def _varies(report: PairReport) -> bool:
    """Return whether a tile was read with statistics and at least one band varies."""
    if not report.digest or report.totals is None or report.squares is None or not report.pixels:
        return False
    variance = report.squares / report.pixels - (report.totals / report.pixels) ** 2
    return bool(np.any(variance > 1e-12 * np.maximum(report.squares / report.pixels, 1e-300)))


def _example(pairs: list[tuple[str, str]]) -> str:
    first, second = min(pairs)
    return first if first == second else f'{first} and {second}'
