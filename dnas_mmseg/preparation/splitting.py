"""Splits into train, val and test that keep neighbours together and balance the classes."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from dnas_mmseg.datasets.configs import SPLITS
from dnas_mmseg.datasets.description import DatasetError
from dnas_mmseg.datasets.deviation import sample_pixels
from dnas_mmseg.datasets.labels import IGNORE, LabelEncoding, label_samples
from dnas_mmseg.raster import GeoReference, Raster, Window

from .scenes import Scene, split_by_lists, split_by_share

_EARTH_RADIUS = 6371008.8
"""Mean radius in metres."""

_MIN_BLOCKS = 20
"""Number of spatial blocks to aim for: few enough to keep neighbours, enough to balance classes."""

_LABEL_SIDE = 1024
"""Longer side of the downsampled label that balances the parts of a scene, in pixels."""


def assign_groups(counts: np.ndarray, shares: Sequence[float], seed: int = 0) -> list[int]:
    """Assign groups to parts so that each part has its share of every class.

    Groups are assigned greedily in random order, then moved while this improves the balance: the
    sum over parts and classes of the squared difference between the part's share of the class and
    its target.

    Args:
        counts: Pixels of each class in each group, (groups, classes).
        shares: Target share of each part; they need not sum to 1.
        seed: Seed of the order.

    Returns:
        Index of the part of each group.

    Raises:
        DatasetError: The shares are invalid, or there are fewer groups than parts.

    Example:
        >>> assign_groups(np.array([[9, 0], [0, 9], [9, 0], [0, 9]]), (1, 1))
        [1, 0, 0, 1]
    """
    targets = np.asarray(shares, float)
    if not np.isfinite(targets).all() or min(shares) < 0 or shares[0] <= 0:
        raise DatasetError(
            f'shares {tuple(shares)}: expected none negative and a positive one for train'
        )
    targets /= targets.sum()
    parts = np.flatnonzero(targets)
    if len(counts) < len(parts):
        raise DatasetError(
            f'{len(counts)} groups cannot be split into {len(parts)} parts: use smaller groups '
            '(--by blocks or random, or a smaller --block-size of dnas split)'
        )
    present = counts[:, counts.sum(0) > 0]
    # The number of groups counts as one more class, so that unlabelled groups are shared, too.
    sizes = np.concatenate([present, np.ones((len(counts), 1))], axis=1)
    sizes = sizes / sizes.sum(0)
    order = np.random.default_rng(seed).permutation(len(counts))
    found = np.full(len(counts), -1)
    filled = np.zeros((len(targets), sizes.shape[1]))
    members = np.zeros(len(targets), int)
    for number, group in enumerate(order):
        cost = _costs(filled, sizes[group], targets)
        empty = parts[members[parts] == 0]
        allowed = empty if len(order) - number <= len(empty) else parts
        found[group] = part = allowed[cost[allowed].argmin()]
        filled[part] += sizes[group]
        members[part] += 1
    improved = True
    while improved:
        improved = False
        for group in order:
            here = found[group]
            if members[here] == 1:
                continue
            filled[here] -= sizes[group]
            members[here] -= 1
            cost = _costs(filled, sizes[group], targets)
            cost[here] -= 1e-12  # stay in case of a tie
            found[group] = part = parts[cost[parts].argmin()]
            filled[part] += sizes[group]
            members[part] += 1
            improved |= bool(part != here)
    return found.tolist()


def _costs(filled: np.ndarray, group: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the change of the imbalance if a group is added to each part, (parts,)."""
    before = ((filled - targets[:, None]) ** 2).sum(1)
    return ((filled + group - targets[:, None]) ** 2).sum(1) - before


@dataclass(frozen=True)
class Footprints:
    """Footprints of rasters on the ground.

    Attributes:
        boxes: West, south, east and north in metres, float64 (rasters, 4). Without georeferences,
            pixels of a scene, with scenes far apart.
        tolerance: Share of a side by which boxes of neighbours may overlap.
        unit: Name of the unit of the boxes.
        reach: Upper limit of known distances; longer ones are those between scenes in pixels.
    """

    boxes: np.ndarray
    tolerance: float = 0.002
    unit: str = 'm'
    reach: float = math.inf

    def select(self, index: np.ndarray) -> Footprints:
        """Return the footprints at these positions."""
        return replace(self, boxes=self.boxes[index])


def locate(
    references: Iterable[tuple[GeoReference, tuple[int, int]]],
) -> Footprints | None:
    """Return the footprints of rasters.

    In one projected CRS they are exact; otherwise, longitudes and latitudes are scaled to metres at
    the mean latitude, where neighbours of a projected grid overlap by a few percent.

    Args:
        references: Georeference and (height, width) of each raster.

    Returns:
        None if a raster has no georeference.
    """
    found = list(references)
    if len({reference.crs for reference, _ in found}) == 1:
        boxes = [reference.projected_box(*shape) for reference, shape in found]
        if None not in boxes:
            return Footprints(np.array(boxes, float))
    degrees = []
    for reference, (height, width) in found:
        points = reference.to_lonlat([(0, 0), (width, 0), (0, height), (width, height)])
        if points is None:
            return None
        longitudes, latitudes = zip(*points, strict=True)
        degrees.append([min(longitudes), min(latitudes), max(longitudes), max(latitudes)])
    radians = np.radians(np.array(degrees))
    scale = np.cos(radians[:, [1, 3]].mean())
    return Footprints(radians * _EARTH_RADIUS * np.array([scale, 1, scale, 1]), tolerance=0.05)


def group_by_blocks(
    footprints: Footprints, side: float | None = None
) -> tuple[list[Hashable], float]:
    """Group rasters by the square block of the ground in which their centres lie.

    Args:
        footprints: Footprints of the rasters.
        side: Side of a block in metres; by default, a fourth of the extent, reduced until there are
            at least 20 blocks, but not below three sides of a raster if there are three blocks.

    Returns:
        Block of each raster; and the side.

    Raises:
        DatasetError: The side is not positive.
    """
    if side is not None and side <= 0:
        raise DatasetError(f'block size {side}: expected metres above 0')
    boxes = footprints.boxes
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    origin, extent = centres.min(0), float(np.ptp(centres, axis=0).max())
    smallest = 3 * float((boxes[:, 2:] - boxes[:, :2]).max())
    wanted = min(_MIN_BLOCKS, max(3, len(boxes) // 2))
    step = side or max(extent / 4, smallest)
    while True:
        blocks = [tuple(cell) for cell in np.floor((centres - origin) / step).astype(int).tolist()]
        number = len(set(blocks))
        enough = number >= wanted or (number >= 3 and step / 1.25 < smallest)
        if side is not None or enough or step < 1e-3:
            return list(blocks), step
        step /= 1.25


def group_touching(footprints: Footprints, overlapping: bool = False) -> list[int]:
    """Group rasters that touch or overlap, directly or through others.

    Args:
        footprints: Footprints of the rasters.
        overlapping: Whether only rasters that overlap are grouped.

    Returns:
        Number of the group of each raster.
    """
    boxes = footprints.boxes
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    sides = boxes[:, 2:] - boxes[:, :2]
    near = cKDTree(centres).query_pairs(1.1 * sides.max(), p=np.inf, output_type='ndarray')
    first, second = near.T
    gaps = np.abs(centres[first] - centres[second]) - (sides[first] + sides[second]) / 2
    tolerance = max(footprints.tolerance, 1e-3) * sides.min()
    joined = near[(gaps < (-tolerance if overlapping else tolerance)).all(1)]
    graph = coo_matrix((np.ones(len(joined)), joined.T), shape=(len(boxes),) * 2)
    return connected_components(graph, directed=False)[1].tolist()


def measure_distances(footprints: Footprints, others: Footprints) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance of each footprint to the nearest one of another set.

    Args:
        footprints, others: Footprints of two sets.

    Returns:
        Distances in metres, 0 if boxes touch; and whether boxes overlap by more than the tolerance.
        Both (rasters,).
    """
    boxes, far = footprints.boxes, others.boxes
    centres = [(found[:, :2] + found[:, 2:]) / 2 for found in (boxes, far)]
    sides = np.concatenate([found[:, 2:] - found[:, :2] for found in (boxes, far)])
    # Of boxes of one size, the nearest is among those of the nearest centres.
    number = min(8 if sides.max() < 1.5 * sides.min() else 256, len(far))
    _, nearest = cKDTree(centres[1]).query(centres[0], k=[*range(1, number + 1)])
    near = far[nearest]
    gaps = np.maximum(near[..., :2] - boxes[:, None, 2:], boxes[:, None, :2] - near[..., 2:])
    overlaps = (gaps < -footprints.tolerance * sides.min()).all(-1).any(-1)
    return np.hypot(*np.moveaxis(gaps.clip(min=0), -1, 0)).min(-1), overlaps


def measure_shared_ground(footprints: Footprints, groups: Sequence[Hashable]) -> float:
    """Return the share of rasters that overlap rasters of other groups by more than half.

    It is estimated from at most 512 rasters.

    Args:
        footprints: Footprints of the rasters.
        groups: Group of each raster.
    """
    boxes = footprints.boxes
    centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    tree = cKDTree(centres)
    sample = np.unique(np.linspace(0, len(boxes) - 1, min(len(boxes), 512)).round().astype(int))
    shared = 0
    for i in sample:
        # Rasters of one size that share more than half have their centres within half a side.
        near = tree.query_ball_point(centres[i], sides[i].max() / 2, p=np.inf)
        others = [j for j in near if groups[j] != groups[i]]
        low = np.maximum(boxes[others, :2], boxes[i, :2])
        high = np.minimum(boxes[others, 2:], boxes[i, 2:])
        areas = (high - low).clip(min=0).prod(-1)
        shared += bool((areas > sides[i].prod() / 2).any())
    return shared / len(sample)


def split_scenes(
    scenes: Sequence[Scene],
    lists: Mapping[str, str | os.PathLike | None],
    shares: Sequence[float] = (0.6, 0.2, 0.2),
    seed: int = 0,
    *,
    within: bool | None = None,
    labels: LabelEncoding,
    size: int,
    gap: int,
) -> tuple[dict[str, list[Scene]], str]:
    """Split scenes into train, val and test.

    Args:
        scenes: All scenes, with label rasters on their grids.
        lists: List file of each split, or None; see :func:`split_by_lists`.
        shares, seed: Arguments of :func:`split_by_share`.
        within: Whether each scene is divided among the splits, see :func:`split_within_scenes`;
            by default, if there are fewer scenes than splits with a positive share.
        labels, size, gap: Arguments of :func:`split_within_scenes`.

    Returns:
        Scenes of each split; and a description of the method, for messages.

    Raises:
        DatasetError: A list or a share is invalid, ``within`` is set with lists, or the scenes are
            too few or too small.
    """
    named = {split: path for split, path in lists.items() if path is not None}
    if named:
        if within:
            raise DatasetError('--within-scenes does not apply: the lists split the scenes')
        return split_by_lists(scenes, named), 'by scene, from lists'
    if within is None:
        within = len(scenes) < sum(share > 0 for share in shares)
    groups = _group_same_ground(scenes)
    shared = next((group for group in groups if len(group) > 1), None)
    if shared is not None and within:
        raise DatasetError(
            f'{shared[0].image} and {shared[1].image} show the same ground, so strips of one would '
            'be training data for the other: remove one of them'
        )
    if not within:
        if shared is None:
            return split_by_share(scenes, shares, seed), 'by scene'
        wanted = sum(share > 0 for share in shares)
        if len(groups) < wanted:
            raise DatasetError(
                f'{shared[0].image} and {shared[1].image} show the same ground, so that '
                f'{len(scenes)} scenes are {len(groups)}, for {wanted} splits: remove copies, or '
                'set lists'
            )
        parts = split_by_share(groups, shares, seed)
        found = {name: [scene for group in part for scene in group] for name, part in parts.items()}
        return found, (
            f'by scene, together where they show the same ground ({shared[0].name}, '
            f'{shared[1].name}{", ..." if len(groups) + 1 < len(scenes) else ""})'
        )
    regions = split_within_scenes(scenes, labels, shares, size=size, gap=gap)
    return regions, f'within scenes, by strips with a gap of {gap} pixels'


def _group_same_ground(scenes: Sequence[Scene]) -> list[list[Scene]]:
    """Group scenes that overlap on the ground; without georeferences, those with equal samples."""
    infos = []
    for scene in scenes:
        with Raster(scene.image) as raster:
            infos.append(raster.info)
    footprints = locate((info.georeference, info.shape) for info in infos)
    keys: Sequence[Hashable]
    if footprints is not None:
        keys = group_touching(footprints, overlapping=True)
    else:
        keys = [_digest(scene.image) for scene in scenes]
    groups: dict[Hashable, list[Scene]] = {}
    for scene, key in zip(scenes, keys, strict=True):
        groups.setdefault(key, []).append(scene)
    return list(groups.values())


def _digest(path: Path) -> bytes:
    """Return a hash of a sample of a scene's pixels."""
    with Raster(path) as raster:
        values, _ = sample_pixels(raster, raster.info.data_bands)
    return hashlib.blake2b(np.ascontiguousarray(values).data, digest_size=16).digest()


def split_within_scenes(
    scenes: Sequence[Scene],
    labels: LabelEncoding,
    shares: Sequence[float],
    *,
    size: int,
    gap: int,
) -> dict[str, list[Scene]]:
    """Split each scene into train, val and test by strips with a gap between them.

    The strips run along rows or columns, in the order in which the classes of the parts differ
    least from those of the scene; each strip has its share of the labelled pixels.

    Args:
        scenes: Scenes with label rasters on their grids.
        labels: Encoding of the labels.
        shares: Shares of train, val and test; they need not sum to 1.
        size: Side of a tile, in pixels: the smallest width of a strip.
        gap: Pixels between two strips, which are in no part.

    Returns:
        Scenes with a region, by part.

    Raises:
        DatasetError: A scene is too small or has no labelled pixel.
    """
    wanted = [(name, share) for name, share in zip(SPLITS, shares, strict=True) if share > 0]
    result: dict[str, list[Scene]] = {name: [] for name in SPLITS}
    for scene in scenes:
        with Raster(scene.label) as raster:
            shape = raster.info.shape
            ids = labels.encode_known(label_samples(raster, labels, side=_LABEL_SIDE))[0]
        if not (ids != IGNORE).any():
            raise DatasetError(f'{scene.label}: no labelled pixel')
        best: tuple[float, int, dict[str, tuple[int, int]]] | None = None
        for axis in (0, 1):
            counts = _class_counts(ids if axis == 0 else ids.T, labels.num_classes)
            for order in permutations(wanted):
                strips = _strips(counts, shape[axis], order, size, gap)
                if strips is None:
                    continue
                imbalance = _imbalance(counts, shape[axis], strips)
                if best is None or imbalance < best[0] - 1e-9:
                    best = imbalance, axis, strips
        if best is None:
            needed = len(wanted) * size + (len(wanted) - 1) * gap
            largest = (
                largest_tile(max(shape), len(wanted))
                if gap == size // 2
                else (max(shape) - (len(wanted) - 1) * gap) // len(wanted)
            )
            remedy = f'--tile-size {largest} or smaller' if largest > 0 else 'a smaller --gap'
            raise DatasetError(
                f'{scene.image}: {shape[0]} x {shape[1]} pixels cannot be split into {len(wanted)} '
                f'strips of at least {size} pixels with gaps of {gap}, which require {needed}: use '
                f'{remedy}, or more scenes'
            )
        _, axis, strips = best
        for name, (start, stop) in strips.items():
            region = (
                Window(0, start, shape[1], stop - start)
                if axis == 0
                else Window(start, 0, stop - start, shape[0])
            )
            result[name].append(replace(scene, region=region))
    return result


def largest_tile(length: int, strips: int) -> int:
    """Return the largest tiles of which strips with gaps of half a tile fit into a scene.

    Args:
        length: Longer side of the scene, in pixels.
        strips: Number of strips.

    Example:
        >>> largest_tile(2048, 3)
        512
    """
    return 2 * length // (3 * strips - 1)


def _class_counts(ids: np.ndarray, num_classes: int) -> np.ndarray:
    """Return the pixels of each class in each row, (rows, classes)."""
    return np.stack([(ids == label).sum(1) for label in range(num_classes)], axis=1)


def _strips(
    counts: np.ndarray,
    length: int,
    order: Sequence[tuple[str, float]],
    size: int,
    gap: int,
) -> dict[str, tuple[int, int]] | None:
    """Return the start and end of each part's strip in pixels; None if they do not fit."""
    free = length - len(order) * size - (len(order) - 1) * gap
    if free < 0:
        return None
    labelled = np.concatenate([[0.0], counts.sum(1).cumsum()]) / counts.sum()
    positions = np.linspace(0, length, len(labelled))
    total = sum(share for _, share in order)
    result, start, passed = {}, 0, 0.0
    for number, (name, share) in enumerate(order):
        passed += share / total
        rest = len(order) - number - 1
        stop = length if not rest else round(float(np.interp(passed, labelled, positions)))
        if rest:
            stop -= gap // 2
        stop = min(max(stop, start + size), length - rest * (size + gap))
        result[name] = start, stop
        start = stop + gap
    return result


def _imbalance(counts: np.ndarray, length: int, strips: Mapping[str, tuple[int, int]]) -> float:
    """Return the mean total variation distance between the classes of a strip and the scene."""
    total = counts.sum(0) / counts.sum()
    distances = []
    for start, stop in strips.values():
        rows = slice(*(round(edge / length * len(counts)) for edge in (start, stop)))
        part = counts[rows].sum(0)
        share = part / part.sum() if part.sum() else np.zeros(len(total))
        distances.append(np.abs(share - total).sum() / 2)
    return float(np.mean(distances))
