"""Nodes, sizes and paths of networks that are arranged in layers and scales."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

NUM_SCALES = 4
"""Number of scales; scale ``s`` has stride ``4 * 2**s``."""


class Node(NamedTuple):
    """A node of the lattice of layers and scales."""

    layer: int
    scale: int

    def __str__(self) -> str:
        return 'stem' if self == STEM else f'({self.layer},{self.scale})'


STEM = Node(-1, 0)
"""Node that the first layer reads, at stride 4."""


def size_at(size: Sequence[int], stride: int) -> tuple[int, int]:
    """Return the size (height, width) of a map at a stride: ``ceil(size / stride)``."""
    height, width = size
    return -(-height // stride), -(-width // stride)


def neighbour_paths(path: tuple[int, ...], first: int = 0) -> Iterator[tuple[int, ...]]:
    """Yield the paths that differ in the scale of one layer, from layer ``first`` on.

    Scales change by at most 1 from layer to layer, starting at 0.
    """
    for layer in range(first, len(path)):
        for scale in range(NUM_SCALES):
            other = (*path[:layer], scale, *path[layer + 1 :])
            steps = itertools.pairwise((0, *other))
            if scale != path[layer] and all(abs(a - b) <= 1 for a, b in steps):
                yield other
