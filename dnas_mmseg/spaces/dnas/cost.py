"""Cost of networks of the DNAS space, and the expected cost of undecided ones.

A table's parts are ``stem``, ``cell/<source scale>><target scale>/<operation>`` (one operation on
one edge, added to its node's other terms), ``resize/<source scale>><target scale>`` and
``head/<scales>`` (the head on outputs at these scales). A resizing counts for every edge, though
edges between the same source and scale share it; it takes time, and no multiply-adds are counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import product
from typing import Any, Literal

import numpy as np
from torch import Tensor

from dnas_mmseg.cost.table import CostTable
from dnas_mmseg.spaces.scales import STEM, Node

from .architecture import OPERATIONS, DNASArchitecture
from .decoding import OPERATIONS_PER_NODE, connection_lattice, core_edges, decode_path, path_lattice

Undecided = Literal['mean', 'least', 'most']


def cell_part(source: Node, target: Node, operation: str) -> str:
    """Return the name in a table of an operation on an edge."""
    return f'cell/{source.scale}>{target.scale}/{operation}'


def resize_part(source: Node, target: Node) -> str:
    """Return the name in a table of the resizing of an edge's input."""
    return f'resize/{source.scale}>{target.scale}'


def head_part(scales: Iterable[int]) -> str:
    """Return the name in a table of the head on outputs at some scales."""
    return 'head/' + ','.join(map(str, sorted(scales)))


@lru_cache(maxsize=4096)
def operation_costs(inputs: tuple[Node, ...], node: Node, table: CostTable) -> np.ndarray:
    """Return the cost of each operation in a node, over all of its inputs, (operations,).

    The operations that a node keeps share the cost of the resizings equally.
    """
    resizing = sum(
        table[resize_part(source, node)] for source in inputs if source.scale != node.scale
    )
    cells = [sum(table[cell_part(source, node, op)] for source in inputs) for op in OPERATIONS]
    costs = np.array(cells) + resizing / OPERATIONS_PER_NODE
    costs.setflags(write=False)  # it is kept
    return costs


def network_cost(
    architecture: DNASArchitecture, table: CostTable, undecided: Undecided = 'mean'
) -> float:
    """Return the cost of a network, or of the completions of an undecided one.

    Args:
        architecture: Network of any level; it counts as pruned.
        table: Costs of the parts.
        undecided: Statistic over the completions: ``'mean'``, in which connections count whether or
            not they are dead; ``'least'`` or ``'most'``, the cheapest or the dearest completion.
    """
    if architecture.level == 'path':
        lattice = connection_lattice(architecture)
        core = core_edges(architecture.path)
        chance = {'mean': 0.5, 'least': 0.0, 'most': 1.0}[undecided]
        kept = {edge: 1.0 if edge in core else chance for edge in lattice.edges}
    else:
        lattice = architecture = architecture.pruned()
        kept = dict.fromkeys(lattice.edges, 1.0)
    total = table['stem']
    for node, inputs, operations in lattice.nodes:
        costs = np.sum(
            [kept[source, node] * operation_costs((source,), node, table) for source in inputs], 0
        )
        if operations:
            total += sum(costs[OPERATIONS.index(operation)] for operation in operations)
        else:
            total += _cost_of_three_operations(costs, undecided)
    last = [spec for spec in lattice.nodes if spec.node.layer == lattice.layers - 1]
    present = [
        (node.scale, 1 - float(np.prod([1 - kept[source, node] for source in inputs])))
        for node, inputs, _ in last
    ]
    return float(total + expected_head_cost(present, table))


def expected_head_cost(present: Sequence[tuple[int, float | Tensor]], table: CostTable) -> Any:
    """Return the mean cost of the head.

    Args:
        present: Pairs (scale, probability that the node exists) of the last layer's nodes, which
            exist independently of each other.
        table: Costs of the parts.

    Returns:
        Mean cost, a number, or a tensor where the probabilities are tensors.
    """
    total: Any = 0.0
    for chosen in product((False, True), repeat=len(present)):
        scales = [scale for (scale, _), there in zip(present, chosen, strict=True) if there]
        if not scales:
            continue  # the core path's node is always there
        chance: float | Tensor = 1.0
        for (_, p), there in zip(present, chosen, strict=True):
            chance = chance * (p if there else 1 - p)
        total = total + chance * table[head_part(scales)]
    return total


@lru_cache(maxsize=16)
def path_edge_costs(
    lattice: DNASArchitecture, table: CostTable, undecided: Undecided = 'mean'
) -> tuple[float, ...]:
    """Return what each edge adds to the cost of a network whose core path contains it.

    An edge adds the cost of its cell, of half of the other connections that its node may have, and
    of the other nodes of its layer; in the first layer also of the stem, in the last one of the
    head. The nodes of the layer before follow from the edge; those of earlier layers are averaged
    over the paths that lead to it. With ``'least'`` no further connections and nodes count. Over
    all paths the sums have the mean of :func:`network_cost`.

    Args:
        lattice: Lattice of :func:`dnas_mmseg.spaces.dnas.decoding.path_lattice`.
        table: Costs of the parts.
        undecided: Statistic over the completions, see :func:`network_cost`.

    Returns:
        Costs of ``lattice.edges``, in their order.
    """
    chance = {'mean': 0.5, 'least': 0.0, 'most': 1.0}[undecided]
    visits = _visits(lattice)
    costs = []
    for source, target in lattice.edges:
        layer, scale = target
        # Further nodes that may feed this one, with the probabilities that they exist.
        earlier: dict[Node, float] = {STEM: 1.0} if layer else {}
        for node, share in visits[source].items():
            for s in range(node.scale + (node != source)):
                below = Node(node.layer, s)
                earlier[below] = earlier.get(below, 0.0) + share
        inputs = operation_costs((source,), target, table)
        for other, share in earlier.items():
            inputs = inputs + chance * share * operation_costs((other,), target, table)
        total = _cost_of_three_operations(inputs, undecided)
        present = [(scale, 1.0)]
        for s in range(scale):
            node = Node(layer, s)
            fed = tuple(Node(layer - 1, a) for a in range(source.scale + 1) if abs(a - s) <= 1)
            total += _cost_of_three_operations(
                chance * operation_costs(fed, node, table), undecided
            )
            present.append((s, 1 - (1 - chance) ** len(fed)))
        if layer == 0:
            total += table['stem']
        if layer == lattice.layers - 1:
            total += expected_head_cost(present, table)
        costs.append(float(total))
    return tuple(costs)


def cost_range(layers: int, table: CostTable) -> tuple[float, float]:
    """Return the cost of the cheapest network of the space, and about that of the dearest."""
    lattice = path_lattice(layers)
    result = []
    ends: tuple[tuple[Undecided, int], ...] = (('least', -1), ('most', 1))
    for undecided, sign in ends:
        costs = np.array(path_edge_costs(lattice, table, undecided))
        path = decode_path(lattice, sign * costs)
        result.append(network_cost(path, table, undecided))
    return result[0], result[1]


def _cost_of_three_operations(costs: np.ndarray, undecided: Undecided) -> float:
    """Return the cost of a node's three operations out of all operations' costs."""
    if undecided == 'mean':
        return OPERATIONS_PER_NODE * float(costs.mean())
    ordered = np.sort(costs)
    chosen = (
        ordered[:OPERATIONS_PER_NODE] if undecided == 'least' else ordered[-OPERATIONS_PER_NODE:]
    )
    return float(chosen.sum())


def _visits(lattice: DNASArchitecture) -> dict[Node, dict[Node, float]]:
    """Return for each node the share of the paths to it that pass through each other node."""
    ways = {STEM: 1.0}
    visits: dict[Node, dict[Node, float]] = {STEM: {}}
    for node, inputs, _ in lattice.nodes:
        ways[node] = sum(ways[source] for source in inputs)
        visits[node] = {node: 1.0}
        for source in inputs:
            for other, share in visits[source].items():
                part = share * ways[source] / ways[node]
                visits[node][other] = visits[node].get(other, 0.0) + part
    return visits
