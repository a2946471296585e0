"""Decoding of the weights of a DenseNAS supernet (Fang et al., CVPR 2020, section 3).

A space is a row of routing blocks of growing widths. Each has a head layer for every block that can
lead to it and a stack of layers; a path through the blocks is a network.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from dnas_mmseg.cost.table import CostTable

from .architecture import BlockSpec, DenseNASArchitecture
from .cost import costs_of_operations, decoder_part
from .graph import FAMILIES, STEM_LAYERS, DenseSpace, PathState, state_trellis


def decode(
    space: DenseSpace,
    edge_scores: Sequence[float],
    head_scores: np.ndarray,
    layer_scores: np.ndarray,
    final: int = 0,
    scales: tuple[int, ...] = (),
    price: float = 0.0,
    table: CostTable | None = None,
) -> DenseNASArchitecture:
    """Return the network of the largest score less its cost times the price.

    Every layer takes its best operation; the path is the best one by the scores of its edges
    (Viterbi), less what it costs with these.

    Args:
        space: Routing blocks and their edges.
        edge_scores: Logarithms of the weights of ``space.trellis.edges``.
        head_scores: Logarithms of the head operations' weights, (inner edges, operations).
        layer_scores: Logarithms of the weights of the operations of ``space.layers``, (layers,
            operations).
        final: Number of channels of the result's closing convolution; 0 for none.
        scales: Scales that the decoder reads; they count only with a price.
        price: Price of a unit of cost, in the unit of the scores.
        table: Costs of the parts; needed where there is a price.
    """
    head_costs, layer_costs = costs_of_operations(space, table)
    heads = (np.asarray(head_scores) - price * head_costs).argmax(1)
    layers = (np.asarray(layer_scores) - price * layer_costs).argmax(1)
    head_of = {edge: i for i, edge in enumerate(space.inner)}
    rows: dict[int, list[int]] = {}
    for row, (block, _) in enumerate(space.layers):
        rows.setdefault(block, []).append(row)

    def cost(after: PathState, edge: tuple[int, int]) -> float:
        if table is None:
            return 0.0
        if after.block == space.end:
            return table[decoder_part(after.left)]
        i = head_of[edge]
        stack = rows.get(after.block, [])
        return head_costs[i, heads[i]] + sum(layer_costs[row, layers[row]] for row in stack)

    states = state_trellis(space, scales if table is not None else ())
    scores = [
        edge_scores[origin] - price * cost(after, (before.block, after.block))
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
    """Build the network of a path, with a head and a stack for each block but the first."""
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
    path = space.walk_of(network)
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
    """Yield all networks that differ in the operation of one layer."""
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
    """Draw a random network from the space: an edge at every block, an operation in every layer."""
    path = [0]
    while path[-1] != space.end:
        following = space.trellis.outgoing[path[-1]]
        path.append(space.trellis.edges[following[rng.integers(len(following))]][1])
    path.pop()
    head_names, layer_names = FAMILIES[space.family]
    heads = rng.choice(head_names, len(path) - 1).tolist()
    stacks = [rng.choice(layer_names, space.blocks[block].depth).tolist() for block in path[1:]]
    return build(space, path, heads, stacks, name, final)
