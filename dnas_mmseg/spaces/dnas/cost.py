"""Costs of networks of the DNAS space at all levels, and cost models of its supernets.

The parts of a table are ``stem``, ``cell/<source scale>><target scale>/<operation>`` (one operation
on one edge, added to the sum of its node), ``resize/<source scale>><target scale>`` and
``head/<scales>`` (the head on outputs at these scales). Resizing counts for every edge, although
edges with the same source and target scale share it; it has latency but no multiply-adds.

Decisions of later stages count at their mean: an edge exists with probability 1/2, a node has three
random operations. Thus every stage aims at the cost of the final network, and the target is near
the middle of the range that later stages can reach.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import combinations, product
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from dnas_mmseg.cost.parts import AddedTo, Part, Parts, head_on, norm_on_one_device, space_parts
from dnas_mmseg.cost.table import (
    CostError,
    CostTable,
    format_cost,
    inclusion_probabilities,
    meet_target,
)
from dnas_mmseg.spaces.cost import EXTREME, CostModel, Preferences
from dnas_mmseg.spaces.scales import NUM_SCALES, STEM, Node, size_at

from .architecture import OPERATIONS, DNASArchitecture
from .decoding import (
    OPERATIONS_PER_NODE,
    connection_lattice,
    core_edges,
    decode_cells,
    decode_connections,
    decode_path,
    path_lattice,
    path_trellis,
)
from .lattice import Lattice, Stem
from .operations import build_operation

Undecided = Literal['mean', 'least', 'most']

_ROOM = 1.3
"""Factor between a target and the limits that later stages can reach, so that they still have
alternatives. With 1, the path stage could select a path with a single network at the target; larger
factors exclude more paths."""


def cell_part(source: Node, target: Node, operation: str) -> str:
    """Return the part name of an operation on an edge."""
    return f'cell/{source.scale}>{target.scale}/{operation}'


def resize_part(source: Node, target: Node) -> str:
    """Return the part name of resizing the input of an edge."""
    return f'resize/{source.scale}>{target.scale}'


def head_part(scales: Iterable[int]) -> str:
    """Return the part name of the head on outputs at some scales."""
    return 'head/' + ','.join(map(str, sorted(scales)))


@lru_cache(maxsize=4096)
def operation_costs(inputs: tuple[Node, ...], node: Node, table: CostTable) -> np.ndarray:
    """Return the costs of the operations of a node, summed over its inputs, (operations,).

    The cost of resizing is divided equally between the operations of a decoded node.
    """
    resizing = sum(
        table[resize_part(source, node)] for source in inputs if source.scale != node.scale
    )
    cells = [sum(table[cell_part(source, node, op)] for source in inputs) for op in OPERATIONS]
    costs = np.array(cells) + resizing / OPERATIONS_PER_NODE
    costs.setflags(write=False)  # the cache shares it
    return costs


def network_cost(
    architecture: DNASArchitecture, table: CostTable, undecided: Undecided = 'mean'
) -> float:
    """Return the cost of a network, or a statistic over the completions of an undecided one.

    Args:
        architecture: Architecture of any level; dead parts do not count.
        table: Costs of the parts.
        undecided: Statistic over the completions: ``'least'`` (lowest cost), ``'most'`` (highest
            cost) or ``'mean'``, which includes dead connections.
    """
    if architecture.level == 'path':
        lattice = connection_lattice(architecture)
        core = core_edges(architecture.path)
        edge_chance = {'mean': 0.5, 'least': 0.0, 'most': 1.0}[undecided]
        chances = {edge: 1.0 if edge in core else edge_chance for edge in lattice.edges}
    else:
        lattice = architecture = architecture.pruned()
        chances = dict.fromkeys(lattice.edges, 1.0)
    total = table['stem']
    for node, inputs, operations in lattice.nodes:
        costs = np.sum(
            [chances[source, node] * operation_costs((source,), node, table) for source in inputs],
            0,
        )
        if operations:
            total += sum(costs[OPERATIONS.index(operation)] for operation in operations)
        else:
            total += _cost_of_three_operations(costs, undecided)
    last = [spec for spec in lattice.nodes if spec.node.layer == lattice.layers - 1]
    present = [
        (node.scale, 1 - float(np.prod([1 - chances[source, node] for source in inputs])))
        for node, inputs, _ in last
    ]
    return float(total + expected_head_cost(present, table))


def expected_head_cost(present: Sequence[tuple[int, float | Tensor]], table: CostTable) -> Any:
    """Return the mean cost of the head.

    Args:
        present: Pairs (scale, probability of existence) of the nodes of the last layer, which are
            independent.
        table: Costs of the parts.

    Returns:
        Mean cost, a number, or a tensor if the probabilities are tensors.
    """
    total: Any = 0.0
    for flags in product((False, True), repeat=len(present)):
        scales = [scale for (scale, _), exists in zip(present, flags, strict=True) if exists]
        if not scales:
            continue  # the node of the core path always exists
        chance: float | Tensor = 1.0
        for (_, p), exists in zip(present, flags, strict=True):
            chance = chance * (p if exists else 1 - p)
        total = total + chance * table[head_part(scales)]
    return total


@lru_cache(maxsize=16)
def path_edge_costs(
    lattice: DNASArchitecture, table: CostTable, undecided: Undecided = 'mean'
) -> tuple[float, ...]:
    """Return the contributions of edges to the cost of a network with them in its core path.

    The contribution of an edge consists of its cell, half of the other possible connections of its
    node, and the other nodes of its layer, plus the stem in the first layer and the head in the
    last one. The edge determines the nodes of the previous layer; those of earlier layers are
    averaged over the paths to the edge. With ``'least'``, other connections and nodes do not count.
    The mean over all paths of the sums of contributions equals that of :func:`network_cost`.

    Args:
        lattice: Lattice of :func:`dnas_mmseg.spaces.dnas.decoding.path_lattice`.
        table: Costs of the parts.
        undecided: Statistic over the completions, see :func:`network_cost`.

    Returns:
        Contributions, in the order of ``lattice.edges``.
    """
    chance = {'mean': 0.5, 'least': 0.0, 'most': 1.0}[undecided]
    visits = _visits(lattice)
    costs = []
    for source, target in lattice.edges:
        layer, scale = target
        # Other possible inputs of the node, with the probabilities that they exist.
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
    """Return the lowest and (approximately) the highest cost of the space's networks."""
    lattice = path_lattice(layers)
    result = []
    bounds: tuple[tuple[Undecided, int], ...] = (('least', -1), ('most', 1))
    for undecided, sign in bounds:
        costs = np.array(path_edge_costs(lattice, table, undecided))
        path = decode_path(lattice, sign * costs)
        result.append(network_cost(path, table, undecided))
    return result[0], result[1]


def _cost_of_three_operations(costs: np.ndarray, undecided: Undecided) -> float:
    """Return the cost of three operations of a node, from the costs of all operations."""
    if undecided == 'mean':
        return OPERATIONS_PER_NODE * float(costs.mean())
    ordered = np.sort(costs)
    n = OPERATIONS_PER_NODE
    return float((ordered[:n] if undecided == 'least' else ordered[-n:]).sum())


def _visits(lattice: DNASArchitecture) -> dict[Node, dict[Node, float]]:
    """Return the share of the paths to each node that pass through each other node."""
    num_paths = {STEM: 1.0}
    visits: dict[Node, dict[Node, float]] = {STEM: {}}
    for node, inputs, _ in lattice.nodes:
        num_paths[node] = sum(num_paths[source] for source in inputs)
        visits[node] = {node: 1.0}
        for source in inputs:
            for other, share in visits[source].items():
                part = share * num_paths[source] / num_paths[node]
                visits[node][other] = visits[node].get(other, 0.0) + part
    return visits


class _DNASCosts(CostModel[DNASArchitecture]):
    """Base class of the cost models of all three stages.

    Args:
        undecided: Architecture that the stage starts from.
        preferences: Supernet of the stage.
        table: Costs of the parts.
    """

    def __init__(
        self, undecided: DNASArchitecture, preferences: Preferences, table: CostTable
    ) -> None:
        super().__init__(preferences, table)
        self._undecided = undecided

    def cost(self, architecture: DNASArchitecture) -> float:
        return network_cost(architecture, self.table)

    def range(self, architecture: DNASArchitecture | None = None) -> tuple[float, float]:
        architecture = self._undecided if architecture is None else architecture
        least = network_cost(architecture, self.table, 'least')
        return least, network_cost(architecture, self.table, 'most')


class DNASPathCosts(_DNASCosts):
    """Cost model of stage 1: mean costs over the completions of a path by later stages."""

    def decode(self, price: float = 0.0, undecided: Undecided = 'mean') -> DNASArchitecture:
        """Decode the path at a price; ``undecided`` as in :func:`network_cost`."""
        costs = np.array(path_edge_costs(self._undecided, self.table, undecided))
        return decode_path(self._undecided, self.preferences.scores() - price * costs)

    def decode_to(self, target: float) -> DNASArchitecture:
        """Return the most probable path whose mean cost is close to the target.

        If there is none, return the most probable path found from which later stages can reach the
        target with a margin (``_ROOM``), or else without a margin.

        Raises:
            CostError: No path leads to networks of the target cost.
        """

        def reaches(path: DNASArchitecture, room: float) -> bool:
            least, most = self.range(path)
            return room * least <= target <= most / room

        least, most = self._range_of_means(target)
        if least <= target <= most:
            path = meet_target(lambda price: self.decode(price / target), self.cost, target)
            if reaches(path, 1):
                return path
        # Positive prices lead to cheaper paths, negative ones to more expensive ones; the smallest
        # price that reaches the target changes the path the least. Paths are compared by their mean
        # cost first, then by the bound that is closer to the target.
        signs = (1,) if target < least else (-1,) if target > most else (1, -1)
        prices = [0.0, *(sign * 2.0**k for k in range(-14, 14) for sign in signs)]
        mean: Undecided = 'mean'
        bound: Undecided = 'least' if signs == (1,) else 'most'
        for room in (_ROOM, 1):
            for undecided in (mean, bound):
                for price in prices:
                    path = self.decode(price / target, undecided)
                    if reaches(path, room):
                        return path
        raise CostError(f'no path leads to networks of {format_cost(target, self.table.metric)}')

    def expected_at(self, target: float) -> float:
        """Return the target, limited to the range of the paths' mean costs."""
        least, most = self._range_of_means(target)
        return min(max(target, least), most)

    def expected(self) -> Tensor:
        """Return the mean cost over paths, weighted by the products of their edge weights."""
        costs = path_edge_costs(self._undecided, self.table)
        return path_trellis(self._undecided).mean_over_paths(self.preferences.weights(), costs)

    def range(self, architecture: DNASArchitecture | None = None) -> tuple[float, float]:
        if architecture is None:
            return cost_range(self._undecided.layers, self.table)
        return super().range(architecture)

    def _range_of_means(self, unit: float) -> tuple[float, float]:
        """Return the lowest and the highest mean cost of the paths; ``unit`` scales the price."""
        ends = sorted(self.cost(self.decode(sign * EXTREME / unit)) for sign in (1, -1))
        return ends[0], ends[1]


class DNASConnectionCosts(_DNASCosts):
    """Cost model of stage 2: operations count at their mean.

    Args:
        lattice: Lattice of :func:`dnas_mmseg.spaces.dnas.decoding.connection_lattice`.
        preferences: Supernet of the stage; its weights are the probabilities of the edges.
        table: Costs of the parts.
    """

    def __init__(
        self, lattice: DNASArchitecture, preferences: Preferences, table: CostTable
    ) -> None:
        super().__init__(lattice.at_level('path'), preferences, table)
        self._lattice = lattice
        self._edge_costs = np.array(
            [
                OPERATIONS_PER_NODE * operation_costs((source,), target, table).mean()
                for source, target in lattice.edges
            ]
        )

    def decode(self, price: float = 0.0) -> DNASArchitecture:
        scores = self.preferences.scores() - price * self._edge_costs
        return decode_connections(self._lattice, (scores > 0).tolist())

    def expected(self) -> Tensor:
        """Return the mean cost over independent gates ``sigmoid(beta)``, including dead edges."""
        gates = self.preferences.weights()
        specs = self._lattice.nodes
        present = [
            (spec.node.scale, 1 - (1 - inputs).prod())
            for spec, inputs in zip(specs, gates.split([len(s.inputs) for s in specs]), strict=True)
            if spec.node.layer == self._lattice.layers - 1
        ]
        cells = (gates * torch.from_numpy(self._edge_costs).to(gates)).sum()
        return self.table['stem'] + cells + expected_head_cost(present, self.table)


class DNASCellCosts(_DNASCosts):
    """Cost model of stage 3: nodes and edges are fixed, operations are decoded.

    Args:
        architecture: Nodes and edges of the supernet.
        preferences: Supernet of the stage, with one row of weights per node.
        table: Costs of the parts.
        within: Nodes and edges to restrict the network to; all by default.
    """

    def __init__(
        self,
        architecture: DNASArchitecture,
        preferences: Preferences,
        table: CostTable,
        within: DNASArchitecture | None = None,
    ) -> None:
        undecided = architecture if within is None else within.pruned()
        super().__init__(undecided, preferences, table)
        self._architecture = architecture
        rows = {spec.node: row for row, spec in enumerate(architecture.nodes)}
        self._rows = [rows[spec.node] for spec in undecided.nodes]
        self._costs = np.stack(
            [operation_costs(spec.inputs, spec.node, table) for spec in undecided.nodes]
        )

    def decode(self, price: float = 0.0) -> DNASArchitecture:
        scores = self.preferences.scores()[self._rows] - price * self._costs
        return decode_cells(self._undecided, scores)

    def expected(self) -> Tensor:
        """Return the mean cost if each node samples three operations from ``softmax(alphas)``."""
        weights = self.preferences.weights()[self._rows]
        selected = inclusion_probabilities(weights, OPERATIONS_PER_NODE)
        cells = (selected * torch.from_numpy(self._costs).to(selected)).sum()
        head = head_part(node.scale for node in self._undecided.outputs)
        return self.table['stem'] + cells + self.table[head]

    def within(self, architecture: DNASArchitecture) -> DNASCellCosts:
        return DNASCellCosts(self._architecture, self.preferences, self.table, architecture)


def dnas_parts(lattice: Lattice, model: Mapping[str, Any], size: tuple[int, int]) -> Parts:
    """Return the parts of networks with the width, bands and normalisation of a lattice.

    Args:
        lattice: Supernet of any stage.
        model: Config of the segmentor of the searched network, for its head.
        size: Height and width of the images.
    """
    return space_parts(
        'dnas',
        lattice,
        model,
        size,
        _modules(lattice, model, size),
        base_channels=lattice.base_channels,
        operations=list(OPERATIONS),
    )


def _modules(lattice: Lattice, model: Mapping[str, Any], size: tuple[int, int]) -> Iterator[Part]:
    sizes = [size_at(size, 4 * 2**s) for s in range(NUM_SCALES)]
    shapes = [(1, lattice.base_channels * 2**s, *sizes[s]) for s in range(NUM_SCALES)]
    norm = norm_on_one_device(lattice.norm_cfg)
    stem = Stem(lattice.in_channels, lattice.base_channels, norm)
    yield Part('stem', stem, ((1, lattice.in_channels, *size),))
    for a, b in product(range(NUM_SCALES), repeat=2):
        source, target = Node(0, a), Node(1, b)
        for name in OPERATIONS:
            cell = AddedTo(build_operation(name, shapes[a][1], shapes[b][1], norm))
            resized = (*shapes[a][:2], *sizes[b])
            yield Part(cell_part(source, target, name), cell, (resized, shapes[b]))
        if a != b:
            resize = nn.Upsample(sizes[b], mode='bilinear', align_corners=True)
            yield Part(resize_part(source, target), resize, (shapes[a],))
    for count in range(1, NUM_SCALES + 1):
        for scales in combinations(range(NUM_SCALES), count):
            inputs = tuple(shapes[s] for s in scales)
            head = head_on(model, [shape[1] for shape in inputs])
            yield Part(head_part(scales), head, inputs)
