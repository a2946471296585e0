"""Graphs of the Auto-DeepLab search: paths through layers and scales, and inputs of blocks."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from dnas_mmseg.spaces.architecture import ArchitectureError
from dnas_mmseg.spaces.scales import NUM_SCALES, STEM, Node
from dnas_mmseg.spaces.trellis import Trellis, UnfoldedTrellis

from .architecture import LOW_LEVEL

MIN_LAYERS = NUM_SCALES - 1
"""Minimum number of layers; with fewer, the coarsest scale is not reachable."""


class PathState(NamedTuple):
    """Node of a path, plus the previous and the low-level scale, which costs depend on."""

    node: Node
    before: int
    low: int


START = PathState(STEM, 0, 0)


@lru_cache
def trellis(layers: int) -> Trellis[Node]:
    """Return all paths through the scales, from the stem to a node of the last layer.

    The first layer is at stride 4 or 8; then the stride changes by at most a factor of 2 a layer.

    Raises:
        ArchitectureError: The number of layers is too small.
    """
    if layers < MIN_LAYERS:
        raise ArchitectureError(
            f'layers = {layers}: at least {MIN_LAYERS} are required to reach all strides'
        )
    edges, before = [], [STEM]
    for layer in range(layers):
        nodes = [Node(layer, scale) for scale in range(min(layer + 2, NUM_SCALES))]
        edges += [(a, b) for b in nodes for a in before if abs(a.scale - b.scale) <= 1]
        before = nodes
    return Trellis(tuple(edges), STEM, tuple(before))


def pairs(blocks: int) -> tuple[tuple[int, int], ...]:
    """Return (block, input) of every possible branch, in the order of the cell parameters' rows."""
    return tuple((block, source) for block in range(blocks) for source in range(block + 2))


@lru_cache
def state_trellis(layers: int) -> UnfoldedTrellis[PathState]:
    """Return the trellis of path states, which determine the costs of layers."""
    return trellis(layers).unfolded(START, next_state)


def next_state(state: PathState, node: Node) -> PathState:
    """Return the state at a node of the next layer."""
    low = node.scale if node.layer <= LOW_LEVEL else state.low
    return PathState(node, state.node.scale, low)


def stride_to(state: PathState, node: Node) -> int:
    """Return the stride of the cell between a state and a node of the next layer."""
    return 2 if node.scale > state.node.scale else 1
