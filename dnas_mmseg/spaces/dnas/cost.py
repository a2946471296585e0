"""Cost of networks of the DNAS space: of decided ones, of undecided ones, and of the supernets'.

A table's parts are ``stem``, ``cell/<source scale>><target scale>/<operation>`` (one operation on
one edge, added to its node's other terms), ``resize/<source scale>><target scale>`` and
``head/<scales>`` (the head on outputs at these scales). A resizing counts for every edge, though
edges between the same source and scale share it; it takes time, and no multiply-adds are counted.

Decisions of later stages count at their mean: an edge is kept with probability 1/2, a node has
three of its operations at random. So every stage aims at the cost of the final network, and leaves
the target about in the middle of the range that the next stages can reach.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import product
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
from dnas_mmseg.spaces.scales import NUM_SCALES, STEM, Node

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
"""Factor by which a target should lie within the costs that later stages can reach: they then
still have a choice. With 1 the path stage would end at a path of which one network fits."""


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
    costs.setflags(write=False)  # the cache returns it again
    return costs


def network_cost(
    architecture: DNASArchitecture, table: CostTable, undecided: Undecided = 'mean'
) -> float:
    """Return the cost of a network, or of the completions of an undecided one.

    Args:
        architecture: Network of any level; it counts as pruned.
        table: Costs of the parts.
        undecided: Statistic over the completions: ``'mean'``, in which connections count whether or
            not they are dead; ``'least'`` or ``'most'``, the lowest or the highest cost.
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
    """Return the lowest cost of the space's networks, and about the highest."""
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


class _DNASCosts(CostModel[DNASArchitecture]):
    """Base of the cost models of all three stages.

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
    """Costs of the paths that the first supernet weighs, completed by the later stages."""

    def decode(self, price: float = 0.0, undecided: Undecided = 'mean') -> DNASArchitecture:
        """See :class:`CostModel`; ``undecided`` is that of :func:`network_cost`."""
        costs = np.array(path_edge_costs(self._undecided, self.table, undecided))
        return decode_path(self._undecided, self.preferences.scores() - price * costs)

    def decode_to(self, target: float) -> DNASArchitecture:
        """Return the preferred path whose mean network costs about the target.

        If there is no such path, return the preferred one from which the later stages can still
        reach the target with room on both sides; failing that, one from which they can reach it at
        all.

        Raises:
            CostError: No path leads to networks of the target's cost.
        """

        def reaches(path: DNASArchitecture, room: float) -> bool:
            least, most = self.range(path)
            return room * least <= target <= most / room

        least, most = self._range_of_means(target)
        if least <= target <= most:
            path = meet_target(lambda price: self.decode(price / target), self.cost, target)
            if reaches(path, 1):
                return path
        # Growing prices lead to paths of lower cost, negative ones to higher cost; the first that
        # reaches the target is the most preferred. Paths are priced by their means, then by the
        # end of their range that the target is nearest to.
        signs = (1,) if target < least else (-1,) if target > most else (1, -1)
        prices = [0.0, *(sign * 2.0**k for k in range(-14, 14) for sign in signs)]
        mean: Undecided = 'mean'
        ends: tuple[Undecided, ...] = ('least',) if signs == (1,) else ('most',)
        for room in (_ROOM, 1):
            for undecided in (mean, *ends):
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
        """Return the mean cost over paths, each as probable as the product of its weights."""
        costs = path_edge_costs(self._undecided, self.table)
        return path_trellis(self._undecided).mean_over_paths(self.preferences.weights(), costs)

    def range(self, architecture: DNASArchitecture | None = None) -> tuple[float, float]:
        if architecture is None:
            return cost_range(self._undecided.layers, self.table)
        return super().range(architecture)

    def _range_of_means(self, unit: float) -> tuple[float, float]:
        """Return the lowest and the highest mean cost of the paths.

        Args:
            unit: Cost of about the same size.
        """
        ends = sorted(self.cost(self.decode(sign * EXTREME / unit)) for sign in (1, -1))
        return ends[0], ends[1]


class DNASConnectionCosts(_DNASCosts):
    """Costs of the connections that the second supernet's gates keep.

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
        # Three operations at their mean.
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
        """Return the mean cost over independent gates, ``sigmoid(beta)``, dead edges included."""
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
    """Costs of the operations that the third supernet's nodes keep.

    Args:
        architecture: Nodes and edges of the supernet.
        preferences: Supernet of the stage, with a row of weights for each node.
        table: Costs of the parts.
        within: Part of the supernet's nodes and edges to decide on; all by default.
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
        """Return the mean cost if each node samples three operations by ``softmax(alphas)``."""
        weights = self.preferences.weights()[self._rows]
        selected = inclusion_probabilities(weights, OPERATIONS_PER_NODE)
        cells = (selected * torch.from_numpy(self._costs).to(selected)).sum()
        head = head_part(node.scale for node in self._undecided.outputs)
        return self.table['stem'] + cells + self.table[head]

    def within(self, architecture: DNASArchitecture) -> DNASCellCosts:
        return DNASCellCosts(self._architecture, self.preferences, self.table, architecture)


def dnas_parts(lattice: Lattice, model: Mapping[str, Any], size: tuple[int, int]) -> Parts:
    """Return the parts of networks that have a lattice's width, bands and normalisation.

    Args:
        lattice: Supernet of any stage.
        model: Config of the segmentor that the found network will be in, for its head.
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
    sizes = [tuple(-(-side // (4 * 2**s)) for side in size) for s in range(NUM_SCALES)]
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
    for chosen in product((False, True), repeat=NUM_SCALES):
        scales = [s for s in range(NUM_SCALES) if chosen[s]]
        if scales:
            inputs = tuple(shapes[s] for s in scales)
            head = head_on(model, [shape[1] for shape in inputs])
            yield Part(head_part(scales), head, inputs)
