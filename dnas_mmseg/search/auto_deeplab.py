"""What Auto-DeepLab searches over, what its weights decode to, and what its networks cost.

Source: Liu et al., CVPR 2019, sections 3 and 4.3.

A table's parts are ``stem``; ``enter/<a>/<b>/<scale>/<stride>``, what a cell does first to the two
outputs before it, where ``a`` and ``b`` are their scales (``half`` and ``stem``: of the stem);
``branch/<scale>/<stride>/<operation>``, which is stride 1 where a branch reads a block; and
``head/<low>/<last>``, the head on the third and the last layer's output at these scales.

What a layer costs depends on the two layers before it, and the head on the third and the last, so
a path is taken as a walk over :class:`Step`, which remembers them: forward means and Viterbi over
steps are exact.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dnas_mmseg.architectures import AutoDeepLabArchitecture
from dnas_mmseg.architectures.architecture import ArchitectureError, Edge
from dnas_mmseg.architectures.auto_deeplab import (
    LOW_LEVEL,
    ONE_BEFORE,
    OPERATIONS,
    TWO_BEFORE,
    Block,
    Branch,
)
from dnas_mmseg.architectures.scales import NUM_SCALES, STEM, Node

from .cost import CostTable, drawn_probabilities, expected_path_cost
from .viterbi import best_path

ZERO = 'zero'
"""The option not to be connected; it has a weight in the search, and no place in a network."""

OPTIONS = (*OPERATIONS, ZERO)
"""The order of the cell parameters' last axis."""

MIN_LAYERS = NUM_SCALES - 1
"""With fewer, the coarsest scale is never reached."""

_ROUNDS = 8


class Step(NamedTuple):
    """Where a path is, and what of its past the cost still depends on."""

    node: Node
    before: int
    low: int


_START = Step(STEM, 0, 0)


@lru_cache
def trellis(layers: int) -> tuple[Edge, ...]:
    """All edges that a path can take, each node's incoming ones before its outgoing ones.

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


def decode(
    layers: int,
    blocks: int,
    edge_scores: Sequence[float],
    cell_scores: np.ndarray,
    name: str,
    price: float = 0.0,
    table: CostTable | None = None,
) -> AutoDeepLabArchitecture:
    """The network of the largest score, its cost at a price taken off.

    The path is the best one (Viterbi); a block takes the two inputs whose best operation scores
    most, with that operation. What a cell costs depends on the path and the other way round: with a
    price, each is chosen on the other in turn until both stay.

    Args:
        layers: Number of layers.
        blocks: Of the cell.
        edge_scores: Logarithms of the weights of ``trellis(layers)``.
        cell_scores: (pairs, options) Logarithms of the operations' weights, see :func:`pairs`.
        name: Of the result.
        price: What a unit of cost is worth.
        table: Needed where there is a price.
    """
    cell = _best_cell(blocks, cell_scores)
    path = _best_walk(layers, edge_scores)
    for _ in range(_ROUNDS if table is not None else 0):
        before = path, cell
        path = _best_walk(layers, edge_scores, cell, price, table)
        cell = _best_cell(blocks, cell_scores, path, price, table)
        if (path, cell) == before:
            break
    return AutoDeepLabArchitecture(name=name, level='cell', path=path, cell=cell)


def score(
    network: AutoDeepLabArchitecture, edge_scores: Sequence[float], cell_scores: np.ndarray
) -> float:
    """The sum of what its edges and branches score."""
    edge_score = dict(zip(trellis(network.layers), edge_scores, strict=True))
    rows = {pair: i for i, pair in enumerate(pairs(len(network.cell)))}
    return sum(edge_score[edge] for edge in network.graph) + sum(
        cell_scores[rows[place], OPERATIONS.index(operation)]
        for place, (operation,) in network.chosen.items()
    )


def neighbours(network: AutoDeepLabArchitecture) -> Iterator[AutoDeepLabArchitecture]:
    """All networks that differ in the scale of one layer or the operation of one branch."""
    for layer in range(network.layers):
        for scale in range(NUM_SCALES):
            path = (*network.path[:layer], scale, *network.path[layer + 1 :])
            steps = itertools.pairwise((0, *path))
            if scale != network.path[layer] and all(abs(a - b) <= 1 for a, b in steps):
                yield replace(network, path=path)
    for i, block in enumerate(network.cell):
        for j, branch in enumerate(block):
            for operation in OPERATIONS:
                if operation != branch.operation:
                    other = (*block[:j], branch._replace(operation=operation), *block[j + 1 :])
                    yield replace(network, cell=(*network.cell[:i], other, *network.cell[i + 1 :]))


def random_architecture(
    layers: int, blocks: int, rng: np.random.Generator, name: str
) -> AutoDeepLabArchitecture:
    """A network drawn from the space: at every node an edge, at every block two branches."""
    path, node = [], STEM
    for _ in range(layers):
        following = [b for a, b in trellis(layers) if a == node]
        node = following[rng.integers(len(following))]
        path.append(node.scale)
    cell = tuple(
        tuple(
            Branch(int(source), OPERATIONS[rng.integers(len(OPERATIONS))])
            for source in rng.choice(block + 2, 2, replace=False)
        )
        for block in range(blocks)
    )
    return AutoDeepLabArchitecture(name=name, level='cell', path=tuple(path), cell=cell)


def network_cost(architecture: AutoDeepLabArchitecture, table: CostTable) -> float:
    """Cost of a network."""
    total, step = table['stem'], _START
    for scale in architecture.path:
        node = Node(step.node.layer + 1, scale)
        total += _fixed_cost(step, node, architecture.layers, table)
        outer, inner = _branch_costs(step, node, table)
        total += sum(
            (outer if source in (TWO_BEFORE, ONE_BEFORE) else inner)[OPERATIONS.index(operation)]
            for block in architecture.cell
            for source, operation in block
        )
        step = _next(step, node)
    return float(total)


def expected_cost(
    layers: int, blocks: int, edge_weights: Tensor, cell_weights: Tensor, table: CostTable
) -> Tensor:
    """Mean cost of the networks that the weights stand for, differentiable.

    A path is as probable as the product of its edges' weights. Apart from it, each block draws two
    of its inputs, one after another, by the weight of their best operation (what decoding goes
    by), and for each an operation by its weight among those that do something.

    Args:
        layers: Number of layers.
        blocks: Of the cell.
        edge_weights: (edges,) Of ``trellis(layers)``, summing to 1 over each node's outgoing ones.
        cell_weights: (pairs, options) Each row summing to 1.
        table: The parts.
    """
    chances = _branch_chances(blocks, cell_weights)
    walks = _walks(layers)
    weight = dict(zip(trellis(layers), edge_weights.unbind(), strict=True))
    cells: dict[tuple, Tensor] = {}
    costs = []
    for before, after in walks:
        kind = (after.node.scale, _stride(before, after.node))
        if kind not in cells:
            both = edge_weights.new_tensor(np.stack(_branch_costs(before, after.node, table)))
            cells[kind] = (chances * both).sum()
        costs.append(_fixed_cost(before, after.node, layers, table) + cells[kind])
    weights = [weight[before.node, after.node] for before, after in walks]
    ends = [step for step in dict.fromkeys(b for _, b in walks) if step.node.layer == layers - 1]
    return table['stem'] + expected_path_cost(walks, weights, costs, ends)


def _branch_chances(blocks: int, cell_weights: Tensor) -> Tensor:
    """How many branches do what, on average: (2, operations), from cells before and from blocks."""
    useful = cell_weights[:, : len(OPERATIONS)]
    totals, row = [], 0
    for block in range(blocks):
        options = useful[row : row + block + 2]
        best = options.amax(1)
        drawn = drawn_probabilities(best / best.sum(), 2)
        share = drawn[:, None] * options / options.sum(1, keepdim=True)
        totals.append(torch.stack((share[:2].sum(0), share[2:].sum(0))))
        row += block + 2
    return torch.stack(totals).sum(0)


@lru_cache
def _walks(layers: int) -> tuple[tuple[Step, Step], ...]:
    """The trellis with steps for nodes."""
    following: dict[Node, list[Node]] = {}
    for source, target in trellis(layers):
        following.setdefault(source, []).append(target)
    walks, steps = [], [_START]
    for _ in range(layers):
        found = [(step, _next(step, node)) for step in steps for node in following[step.node]]
        walks += found
        steps = list(dict.fromkeys(after for _, after in found))
    return tuple(walks)


def _next(step: Step, node: Node) -> Step:
    low = node.scale if node.layer <= LOW_LEVEL else step.low
    return Step(node, step.node.scale, low)


def _stride(step: Step, node: Node) -> int:
    return 2 if node.scale > step.node.scale else 1


def enter_part(two_before: int | str, one_before: int | str, scale: int, stride: int) -> str:
    """Name of what a cell does first."""
    return f'enter/{two_before}/{one_before}/{scale}/{stride}'


def branch_part(scale: int, stride: int, operation: str) -> str:
    """Name of a branch."""
    return f'branch/{scale}/{stride}/{operation}'


def head_part(low: int, last: int) -> str:
    """Name of the head."""
    return f'head/{low}/{last}'


def entries() -> tuple[tuple[int | str, int | str, int, int], ...]:
    """All (two before, one before, scale, stride) that there are."""
    walks = _walks(NUM_SCALES + 2)
    return tuple(dict.fromkeys((*_sources(a), b.node.scale, _stride(a, b.node)) for a, b in walks))


def _sources(step: Step) -> tuple[int | str, int | str]:
    """What the cell behind a step reads."""
    if step.node == STEM:
        return 'half', 'stem'
    return ('stem' if step.node.layer == 0 else step.before), step.node.scale


def _fixed_cost(step: Step, node: Node, layers: int, table: CostTable) -> float:
    """What a layer costs besides its branches; the last one with the head."""
    cost = table[enter_part(*_sources(step), node.scale, _stride(step, node))]
    if node.layer == layers - 1:
        cost += table[head_part(_next(step, node).low, node.scale)]
    return cost


def _branch_costs(step: Step, node: Node, table: CostTable) -> tuple[np.ndarray, np.ndarray]:
    """Of every operation, in branches that read cells before, and in those that read blocks."""
    return tuple(
        np.array([table[branch_part(node.scale, stride, name)] for name in OPERATIONS])
        for stride in (_stride(step, node), 1)
    )


def _best_walk(
    layers: int,
    edge_scores: Sequence[float],
    cell: tuple[Block, ...] | None = None,
    price: float = 0.0,
    table: CostTable | None = None,
) -> tuple[int, ...]:
    """The path of the largest score; ties stay at the finer scale."""
    score = dict(zip(trellis(layers), map(float, edge_scores), strict=True))
    if table is None:
        ends = [b for _, b in trellis(layers) if b.layer == layers - 1]
        edges = [(a, b, gain) for (a, b), gain in score.items()]
        return tuple(node.scale for node in best_path(edges, STEM, ends)[1:])
    branches = [(s in (TWO_BEFORE, ONE_BEFORE), OPERATIONS.index(o)) for b in cell for s, o in b]
    edges = []
    for before, after in _walks(layers):
        outer, inner = _branch_costs(before, after.node, table)
        cost = _fixed_cost(before, after.node, layers, table)
        cost += sum((outer if first else inner)[index] for first, index in branches)
        edges.append((before, after, score[before.node, after.node] - price * cost))
    ends = sorted({b for _, b, _ in edges if b.node.layer == layers - 1})
    return tuple(step.node.scale for step in best_path(edges, _START, ends)[1:])


def _best_cell(
    blocks: int,
    cell_scores: np.ndarray,
    path: tuple[int, ...] = (),
    price: float = 0.0,
    table: CostTable | None = None,
) -> tuple[Block, ...]:
    """For each block the two inputs whose best operation scores most; ties go to earlier ones."""
    costs = np.zeros((2, len(OPERATIONS)))
    step = _START
    for scale in path:
        node = Node(step.node.layer + 1, scale)
        costs += np.stack(_branch_costs(step, node, table))
        step = _next(step, node)
    cell, row = [], 0
    for block in range(blocks):
        scores = np.array(cell_scores[row : row + block + 2, : len(OPERATIONS)], float)
        scores[:2] -= price * costs[0]
        scores[2:] -= price * costs[1]
        best = scores.max(1)
        inputs = np.sort(np.argsort(-best, kind='stable')[:2])
        cell.append(tuple(Branch(int(i), OPERATIONS[scores[i].argmax()]) for i in inputs))
        row += block + 2
    return tuple(cell)
