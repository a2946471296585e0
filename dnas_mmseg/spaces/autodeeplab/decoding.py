"""Decoding of Auto-DeepLab's weights (Liu et al., CVPR 2019, sections 3 and 4.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from dnas_mmseg.spaces.architecture import Edge, Point
from dnas_mmseg.spaces.scales import STEM, Node, neighbour_paths

from .architecture import (
    ONE_BEFORE,
    OPERATIONS,
    TWO_BEFORE,
    AutoDeepLabArchitecture,
    Block,
    Branch,
)
from .graph import START, PathState, next_state, pairs, state_trellis, trellis

ZERO = 'zero'
"""Option of no connection, which has a weight in the search but is never decoded."""

OPTIONS = (*OPERATIONS, ZERO)
"""Options of a branch, in the order of the cell parameters' last axis."""

Penalty = Callable[[PathState, Node], tuple[float, np.ndarray]]
"""Function from a state of a path and the next node to the penalties of that layer's scores: of the
layer itself, and of the operations of branches that read cells and blocks, (2, operations)."""

_ROUNDS = 8
"""Limit of the alternation of path and cell, which usually converges in two or three rounds; ties
could otherwise alternate without end."""


def decode(
    layers: int,
    blocks: int,
    edge_scores: Sequence[float],
    cell_scores: np.ndarray,
    penalty: Penalty | None = None,
) -> AutoDeepLabArchitecture:
    """Return the network with the largest score minus penalties.

    The path is decoded by the Viterbi algorithm. A block has the two inputs whose best operations
    have the largest scores, with these operations. The penalties of cell and path depend on each
    other, so both are decoded in turn until neither changes.

    Args:
        layers: Number of layers.
        blocks: Number of blocks of the cell.
        edge_scores: Logarithms of the edges' weights, (edges,), see :func:`trellis`.
        cell_scores: Logarithms of the operations' weights, (pairs, options), see :func:`pairs`.
        penalty: Penalties of the layers; none by default.
    """
    cell = _best_cell(blocks, cell_scores)
    path = _best_path(layers, edge_scores)
    for _ in range(_ROUNDS if penalty is not None else 0):
        before = path, cell
        path = _best_path(layers, edge_scores, cell, penalty)
        cell = _best_cell(blocks, cell_scores, path, penalty)
        if (path, cell) == before:
            break
    name = f'autodeeplab_l{layers}'
    return AutoDeepLabArchitecture(name=name, level='cell', path=path, cell=cell)


def score(
    network: AutoDeepLabArchitecture, edge_scores: Sequence[float], cell_scores: np.ndarray
) -> float:
    """Return the sum of the scores of a network's edges and branches."""
    edge_score: dict[Edge, float] = dict(
        zip(trellis(network.layers).edges, edge_scores, strict=True)
    )
    rows: dict[Point, int] = {pair: i for i, pair in enumerate(pairs(len(network.cell)))}
    return sum(edge_score[edge] for edge in network.graph) + sum(
        cell_scores[rows[place], OPERATIONS.index(operation)]
        for place, (operation,) in network.selected_operations.items()
    )


def neighbours(network: AutoDeepLabArchitecture) -> Iterator[AutoDeepLabArchitecture]:
    """Yield all networks that differ in one layer's scale or one branch's operation."""
    for path in neighbour_paths(network.path):
        yield replace(network, path=path)
    for i, block in enumerate(network.cell):
        for j, branch in enumerate(block):
            for operation in OPERATIONS:
                if operation != branch.operation:
                    changed = branch._replace(operation=operation)
                    other = (block[0], changed) if j else (changed, block[1])
                    yield replace(network, cell=(*network.cell[:i], other, *network.cell[i + 1 :]))


def random_architecture(
    layers: int, blocks: int, rng: np.random.Generator, name: str
) -> AutoDeepLabArchitecture:
    """Sample a random network: uniform edges at every node, two uniform branches per block."""
    graph = trellis(layers)
    path, node = [], STEM
    for _ in range(layers):
        following = graph.outgoing[node]
        _, node = graph.edges[following[rng.integers(len(following))]]
        path.append(node.scale)
    cell = []
    for block in range(blocks):
        first, second = (
            Branch(int(source), OPERATIONS[rng.integers(len(OPERATIONS))])
            for source in rng.choice(block + 2, 2, replace=False)
        )
        cell.append((first, second))
    return AutoDeepLabArchitecture(name=name, level='cell', path=tuple(path), cell=tuple(cell))


def _best_path(
    layers: int,
    edge_scores: Sequence[float],
    cell: tuple[Block, ...] = (),
    penalty: Penalty | None = None,
) -> tuple[int, ...]:
    """Return the path with the largest score; ties go to the finer scale."""
    if penalty is None:
        return tuple(node.scale for node in trellis(layers).best_path(edge_scores)[1:])
    branches = [(s in (TWO_BEFORE, ONE_BEFORE), OPERATIONS.index(o)) for b in cell for s, o in b]
    states = state_trellis(layers)
    scores = []
    for (before, after), origin in zip(states.edges, states.origins, strict=True):
        fixed, (outer, inner) = penalty(before, after.node)
        operations = sum((outer if first else inner)[index] for first, index in branches)
        scores.append(edge_scores[origin] - fixed - operations)
    return tuple(state.node.scale for state in states.best_path(scores)[1:])


def _best_cell(
    blocks: int,
    cell_scores: np.ndarray,
    path: tuple[int, ...] = (),
    penalty: Penalty | None = None,
) -> tuple[Block, ...]:
    """Return the two best inputs of each block, with operations; ties go to earlier ones."""
    penalties = np.zeros((2, len(OPERATIONS)))
    state = START
    if penalty is not None:
        for scale in path:
            node = Node(state.node.layer + 1, scale)
            penalties += penalty(state, node)[1]
            state = next_state(state, node)
    cell, row = [], 0
    for block in range(blocks):
        scores = np.array(cell_scores[row : row + block + 2, : len(OPERATIONS)], float)
        scores[:2] -= penalties[0]
        scores[2:] -= penalties[1]
        best = scores.max(1)
        inputs = np.sort(np.argsort(-best, kind='stable')[:2])
        first, second = (Branch(int(i), OPERATIONS[scores[i].argmax()]) for i in inputs)
        cell.append((first, second))
        row += block + 2
    return tuple(cell)
