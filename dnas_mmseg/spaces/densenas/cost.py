"""Cost of networks of DenseNAS's space, and the expected cost of undecided ones.

A table's parts are ``stem``; ``head/<from>/<to>/<operation>``; ``layer/<block>/<operation>``; and
``decoder/<block>,<block>,...``, the segmentor's head on the outputs of these blocks. Blocks are
named by their index in the row.

A decoder reads of each scale the block from which the path leaves it, so what it costs depends on
several blocks of the path: a path is taken through :func:`state_trellis`, whose states remember
them, and means and Viterbi over states are exact. Without that memory it is the chained estimation
of section 3.4.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from torch import Tensor

from dnas_mmseg.cost.table import CostTable

from .architecture import SKIP, DenseNASArchitecture
from .graph import FAMILIES, STEM_LAYERS, DenseSpace, state_trellis


def head_part(source: int, target: int, operation: str) -> str:
    """Return the name in a table of a head layer."""
    return f'head/{source}/{target}/{operation}'


def layer_part(block: int, operation: str) -> str:
    """Return the name in a table of a layer of a stack."""
    return f'layer/{block}/{operation}'


def decoder_part(left: Collection[int]) -> str:
    """Return the name in a table of the segmentor's head on these blocks' outputs."""
    return 'decoder/' + ','.join(map(str, left))


def network_cost(
    space: DenseSpace,
    architecture: DenseNASArchitecture,
    scales: tuple[int, ...],
    table: CostTable,
) -> float:
    """Return the cost of a network."""
    path = space.walk_of(architecture)
    total, left = table['stem'], []
    specs = architecture.blocks[len(STEM_LAYERS[space.family]) :]
    for i, (source, target, spec) in enumerate(zip(path, path[1:], specs, strict=False)):
        total += table[head_part(source, target, spec.head)]
        total += sum(table[layer_part(target, name)] for name in spec.stack if name != SKIP)
        scale = space.blocks[source].scale
        if scale in scales and space.blocks[target].scale > scale:
            left.append(source)
        if i == len(specs) - 1 and space.blocks[target].scale in scales:
            left.append(target)
    return float(total + table[decoder_part(left)])


def expected_cost(
    space: DenseSpace,
    edge_weights: Tensor,
    head_weights: Tensor,
    layer_weights: Tensor,
    scales: tuple[int, ...],
    table: CostTable,
) -> Tensor:
    """Return the mean cost of the networks that the weights stand for (section 3.4).

    A path is as probable as the product of its edges' weights, each layer has one operation, drawn
    by its weights.

    Args:
        space: Routing blocks and their edges.
        edge_weights: Weights of the edges, (edges,), which sum to 1 over each block's outgoing
            ones.
        head_weights: Weights of the head operations, (inner edges, operations), which sum to 1 in
            each row.
        layer_weights: Weights of the stacks' operations, (layers, operations), which sum to 1 in
            each row.
        scales: Scales that the decoder reads.
        table: Costs of the parts.
    """
    head_costs, layer_costs = (
        torch.from_numpy(costs).to(edge_weights) for costs in costs_of_operations(space, table)
    )
    means = dict(zip(space.inner, (head_weights * head_costs).sum(1).unbind(), strict=True))
    stacks = edge_weights.new_zeros(len(space.blocks)).index_add(
        0,
        torch.tensor(
            [block for block, _ in space.layers], dtype=torch.long, device=edge_weights.device
        ),
        (layer_weights * layer_costs).sum(1),
    )
    states = state_trellis(space, scales)
    costs = [
        table[decoder_part(after.left)]
        if after.block == space.end
        else means[before.block, after.block] + stacks[after.block]
        for before, after in states.edges
    ]
    weights = edge_weights[list(states.origins)]
    return table['stem'] + states.mean_over_paths(weights, costs)


def costs_of_operations(
    space: DenseSpace, table: CostTable | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return costs of head layers, (inner edges, operations), and stacks, (layers, operations)."""
    heads, layers = FAMILIES[space.family]

    def cost(part: str) -> float:
        return 0.0 if table is None or part.endswith(SKIP) else table[part]

    return (
        np.array([[cost(head_part(*edge, name)) for name in heads] for edge in space.inner]),
        np.array(
            [[cost(layer_part(block, name)) for name in layers] for block, _ in space.layers]
        ).reshape(-1, len(layers)),
    )


def leave_weights(space: DenseSpace, edge_weights: Tensor) -> dict[int, dict[int, Tensor]]:
    """Return the probability that paths leave a scale from a block, by scale and block.

    A path leaves every scale that it enters once, or ends there, so the probabilities of a scale
    sum to 1 where all paths enter it.

    Args:
        space: Routing blocks and their edges.
        edge_weights: Weights of the edges, (edges,), which sum to 1 over each block's outgoing
            ones.
    """
    weights = edge_weights.unbind()
    visits = {0: edge_weights.new_ones(())}
    leaves: dict[int, dict[int, Tensor]] = {}
    for block, spec in enumerate(space.blocks):
        for index in space.trellis.outgoing[block]:
            target = space.trellis.edges[index][1]
            passing = visits[block] * weights[index]
            if target == space.end or space.blocks[target].scale > spec.scale:
                row = leaves.setdefault(spec.scale, {})
                row[block] = row[block] + passing if block in row else passing
            if target != space.end:
                visits[target] = visits[target] + passing if target in visits else passing
    return leaves
