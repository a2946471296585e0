"""Cost of networks of Auto-DeepLab's space, and the expected cost of undecided ones.

A table's parts are ``stem``; ``enter/<a>/<b>/<scale>/<stride>``, the entry of a cell for the two
outputs before it, of scales ``a`` and ``b`` (``half`` and ``stem`` are the stem's outputs);
``branch/<scale>/<stride>/<operation>``, of stride 1 where a branch reads a block; and
``head/<low>/<last>``, the head on the third and the last layer's output at these scales.

What a layer costs depends on the two layers before it, and the head on the third and the last, so
a path is taken through :func:`state_trellis`, whose states remember them: means and Viterbi over
states are exact.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dnas_mmseg.cost.table import CostTable, drawn_probabilities
from dnas_mmseg.spaces.scales import NUM_SCALES, STEM, Node

from .architecture import (
    ONE_BEFORE,
    OPERATIONS,
    TWO_BEFORE,
    AutoDeepLabArchitecture,
)
from .graph import START, PathState, next_state, state_trellis, stride_to


def network_cost(architecture: AutoDeepLabArchitecture, table: CostTable) -> float:
    """Return the cost of a network."""
    total, state = table['stem'], START
    for scale in architecture.path:
        node = Node(state.node.layer + 1, scale)
        total += fixed_cost(state, node, architecture.layers, table)
        outer, inner = branch_costs(state, node, table)
        total += sum(
            (outer if source in (TWO_BEFORE, ONE_BEFORE) else inner)[OPERATIONS.index(operation)]
            for block in architecture.cell
            for source, operation in block
        )
        state = next_state(state, node)
    return float(total)


def expected_cost(
    layers: int, blocks: int, edge_weights: Tensor, cell_weights: Tensor, table: CostTable
) -> Tensor:
    """Return the mean cost of the networks that the weights stand for, differentiable.

    A path is as probable as the product of its edges' weights. Independently of the path, each
    block draws two of its inputs, one after another, by the weight of their best operation (what
    decoding goes by), and for each an operation by its weight among those that do something.

    Args:
        layers: Number of layers.
        blocks: Number of blocks of the cell.
        edge_weights: Weights of the edges of :func:`trellis`, (edges,), which sum to 1 over each
            node's outgoing ones.
        cell_weights: Weights of the branches' options, (pairs, options), which sum to 1 in each
            row.
        table: Costs of the parts.
    """
    chances = _branch_chances(blocks, cell_weights)
    states = state_trellis(layers)
    cells: dict[tuple, Tensor] = {}
    costs = []
    for before, after in states.edges:
        kind = (after.node.scale, stride_to(before, after.node))
        if kind not in cells:
            both = edge_weights.new_tensor(np.stack(branch_costs(before, after.node, table)))
            cells[kind] = (chances * both).sum()
        costs.append(fixed_cost(before, after.node, layers, table) + cells[kind])
    weights = edge_weights[list(states.origins)]
    return table['stem'] + states.mean_over_paths(weights, costs)


def _branch_chances(blocks: int, cell_weights: Tensor) -> Tensor:
    """Return mean numbers of branches that read cells or blocks, by operation, (2, operations)."""
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


def enter_part(two_before: int | str, one_before: int | str, scale: int, stride: int) -> str:
    """Return the name in a table of a cell's entry."""
    return f'enter/{two_before}/{one_before}/{scale}/{stride}'


def branch_part(scale: int, stride: int, operation: str) -> str:
    """Return the name in a table of a branch."""
    return f'branch/{scale}/{stride}/{operation}'


def head_part(low: int, last: int) -> str:
    """Return the name in a table of the head."""
    return f'head/{low}/{last}'


def entries() -> tuple[tuple[int | str, int | str, int, int], ...]:
    """Return (two before, one before, scale, stride) of every entry that a cell can have."""
    edges = state_trellis(NUM_SCALES + 2).edges
    return tuple(
        dict.fromkeys((*_sources(a), b.node.scale, stride_to(a, b.node)) for a, b in edges)
    )


def _sources(state: PathState) -> tuple[int | str, int | str]:
    """Return the two outputs that the cell behind a state reads, as tables name them."""
    if state.node == STEM:
        return 'half', 'stem'
    return ('stem' if state.node.layer == 0 else state.before), state.node.scale


def fixed_cost(state: PathState, node: Node, layers: int, table: CostTable) -> float:
    """Return a layer's cost without its branches; the last layer's includes the head."""
    cost = table[enter_part(*_sources(state), node.scale, stride_to(state, node))]
    if node.layer == layers - 1:
        cost += table[head_part(next_state(state, node).low, node.scale)]
    return cost


def branch_costs(state: PathState, node: Node, table: CostTable) -> tuple[np.ndarray, np.ndarray]:
    """Return every operation's cost in branches that read cells, and in those that read blocks."""
    outer, inner = (
        np.array([table[branch_part(node.scale, stride, name)] for name in OPERATIONS])
        for stride in (stride_to(state, node), 1)
    )
    return outer, inner
