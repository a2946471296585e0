"""Decoding of DenseNAS's weights (Fang et al., CVPR 2020, section 3).

A space is a sequence of routing blocks with increasing widths. A block has one head layer for each
possible predecessor, and a stack of layers. A path through the blocks is a network.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from .architecture import BlockSpec, DenseNASArchitecture
from .graph import FAMILIES, STEM_LAYERS, DenseSpace, PathState, state_trellis


class Penalties(NamedTuple):
    """Values to subtract from the scores of the parts of networks.

    Attributes:
        heads: Penalties of the head operations, (inner edges, operations).
        layers: Penalties of the stacks' operations, (layers, operations).
        scales: Scales that the decoder reads.
        decoder: Function from the blocks that the decoder reads to the penalty of the decoder.
    """

    heads: np.ndarray
    layers: np.ndarray
    scales: tuple[int, ...]
    decoder: Callable[[tuple[int, ...]], float]


def decode(
    space: DenseSpace,
    edge_scores: Sequence[float],
    head_scores: np.ndarray,
    layer_scores: np.ndarray,
    final: int = 0,
    penalties: Penalties | None = None,
) -> DenseNASArchitecture:
    """Return the network with the largest score minus penalties.

    Each layer has its best operation. The path is decoded by the Viterbi algorithm from the scores
    of its edges minus the penalties of these operations and of the decoder.

    Args:
        space: Routing blocks and their edges.
        edge_scores: Logarithms of the weights of ``space.trellis.edges``.
        head_scores: Logarithms of the head operations' weights, (inner edges, operations).
        layer_scores: Logarithms of the weights of the operations of ``space.layers``, (layers,
            operations).
        final: Number of channels of the result's final convolution; 0 for none.
        penalties: Penalties of the parts; none by default.
    """
    if penalties is None:
        zeros = np.zeros_like(head_scores), np.zeros_like(layer_scores)
        penalties = Penalties(*zeros, (), lambda left: 0.0)
    heads = (np.asarray(head_scores) - penalties.heads).argmax(1)
    layers = (np.asarray(layer_scores) - penalties.layers).argmax(1)
    head_of = {edge: i for i, edge in enumerate(space.inner)}
    rows: dict[int, list[int]] = {}
    for row, (block, _) in enumerate(space.layers):
        rows.setdefault(block, []).append(row)

    def penalty(after: PathState, edge: tuple[int, int]) -> float:
        if after.block == space.end:
            return penalties.decoder(after.left)
        i = head_of[edge]
        stack = rows.get(after.block, [])
        stacked = sum(penalties.layers[row, layers[row]] for row in stack)
        return penalties.heads[i, heads[i]] + stacked

    states = state_trellis(space, penalties.scales)
    scores = [
        edge_scores[origin] - penalty(after, (before.block, after.block))
        for (before, after), origin in zip(states.edges, states.origins, strict=True)
    ]
    path = [state.block for state in states.best_path(scores)][:-1]
    head_names, layer_names = FAMILIES[space.family]
    return build(
        space,
        path,
        [head_names[heads[head_of[edge]]] for edge in itertools.pairwise(path)],
        [[layer_names[layers[row]] for row in rows.get(block, [])] for block in path[1:]],
        'densenas',
        final,
    )


def build(
    space: DenseSpace,
    path: Sequence[int],
    heads: Sequence[str],
    stacks: Sequence[Sequence[str]],
    name: str,
    final: int = 0,
) -> DenseNASArchitecture:
    """Build the network of a path, with a head and a stack for each block after the first."""
    first = space.blocks[path[0]].width
    blocks = [BlockSpec(first, operation, (), 1) for operation in STEM_LAYERS[space.family]]
    for before, block, head, stack in zip(path, path[1:], heads, stacks, strict=False):
        stride = 2 if space.blocks[block].scale > space.blocks[before].scale else 1
        blocks.append(BlockSpec(space.blocks[block].width, head, tuple(stack), stride))
    return DenseNASArchitecture(
        name=name, level='cell', stem=first, blocks=tuple(blocks), final=final
    )


def score(
    space: DenseSpace,
    network: DenseNASArchitecture,
    edge_scores: Sequence[float],
    head_scores: np.ndarray,
    layer_scores: np.ndarray,
) -> float:
    """Return the sum of the scores of a network's edges and operations."""
    path = space.path_of(network)
    head_names, layer_names = FAMILIES[space.family]
    edges = itertools.pairwise((*path, space.end))
    total = sum(edge_scores[space.trellis.edges.index(edge)] for edge in edges)
    specs = network.blocks[len(STEM_LAYERS[space.family]) :]
    for edge, spec in zip(itertools.pairwise(path), specs, strict=True):
        total += head_scores[space.inner.index(edge), head_names.index(spec.head)]
        for layer, name in enumerate(spec.stack):
            total += layer_scores[space.layers.index((edge[1], layer)), layer_names.index(name)]
    return total


def neighbours(space: DenseSpace, network: DenseNASArchitecture) -> Iterator[DenseNASArchitecture]:
    """Yield all networks that differ in the operation of a single layer."""
    head_names, layer_names = FAMILIES[space.family]
    for i in range(len(STEM_LAYERS[space.family]), len(network.blocks)):
        block = network.blocks[i]
        others = [block._replace(head=name) for name in head_names if name != block.head]
        for layer, old in enumerate(block.stack):
            stacks = ((*block.stack[:layer], n, *block.stack[layer + 1 :]) for n in layer_names)
            others += [block._replace(stack=stack) for stack in stacks if stack[layer] != old]
        for other in others:
            yield replace(network, blocks=(*network.blocks[:i], other, *network.blocks[i + 1 :]))


def random_architecture(
    space: DenseSpace, rng: np.random.Generator, name: str, final: int = 0
) -> DenseNASArchitecture:
    """Sample a random network: uniform edges at every block, uniform operations in every layer."""
    path = [0]
    while path[-1] != space.end:
        following = space.trellis.outgoing[path[-1]]
        path.append(space.trellis.edges[following[rng.integers(len(following))]][1])
    path.pop()
    head_names, layer_names = FAMILIES[space.family]
    heads = rng.choice(head_names, len(path) - 1).tolist()
    stacks = [rng.choice(layer_names, space.blocks[block].depth).tolist() for block in path[1:]]
    return build(space, path, heads, stacks, name, final)
