"""What Auto-DeepLab searches over: a path through layers and strides, and pairs of inputs."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from dnas_mmseg.spaces.architecture import ArchitectureError, Edge
from dnas_mmseg.spaces.scales import NUM_SCALES, STEM, Node

from .architecture import (
    LOW_LEVEL,
)

MIN_LAYERS = NUM_SCALES - 1
"""With fewer, the coarsest scale is never reached."""


class Step(NamedTuple):
    """Place of a path, and what of its past the cost still depends on."""

    node: Node
    before: int
    low: int


START = Step(STEM, 0, 0)


@lru_cache
def trellis(layers: int) -> tuple[Edge, ...]:
    """Return all edges of paths, each node's incoming ones before its outgoing ones.

    The first layer is at stride 4 or 8; then the stride changes by at most a factor of 2 a layer.

    Raises:
        ArchitectureError: Too few layers.
    """
    if layers < MIN_LAYERS:
        raise ArchitectureError(
            f'layers = {layers}: at least {MIN_LAYERS} are needed to reach all strides'
        )
    edges, before = [], [STEM]
    for layer in range(layers):
        nodes = [Node(layer, scale) for scale in range(min(layer + 2, NUM_SCALES))]
        edges += [(a, b) for b in nodes for a in before if abs(a.scale - b.scale) <= 1]
        before = nodes
    return tuple(edges)


def pairs(blocks: int) -> tuple[tuple[int, int], ...]:
    """(block, input) of every possible branch, in the order of the cell parameters' rows."""
    return tuple((block, source) for block in range(blocks) for source in range(block + 2))


@lru_cache
def walks(layers: int) -> tuple[tuple[Step, Step], ...]:
    """The trellis with steps for nodes."""
    following: dict[Node, list[Node]] = {}
    for source, target in trellis(layers):
        following.setdefault(source, []).append(target)
    walks, steps = [], [START]
    for _ in range(layers):
        found = [(step, next_step(step, node)) for step in steps for node in following[step.node]]
        walks += found
        steps = list(dict.fromkeys(after for _, after in found))
    return tuple(walks)


def next_step(step: Step, node: Node) -> Step:
    low = node.scale if node.layer <= LOW_LEVEL else step.low
    return Step(node, step.node.scale, low)


def stride_to(step: Step, node: Node) -> int:
    return 2 if node.scale > step.node.scale else 1
