"""Places in networks that are laid out in layers and scales."""

from __future__ import annotations

from typing import NamedTuple

NUM_SCALES = 4
"""Number of scales; scale ``s`` has stride ``4 * 2**s``."""


class Node(NamedTuple):
    """A place in the lattice."""

    layer: int
    scale: int

    def __str__(self) -> str:
        return 'stem' if self == STEM else f'({self.layer},{self.scale})'


STEM = Node(-1, 0)
"""Node that the first layer reads, at stride 4."""
