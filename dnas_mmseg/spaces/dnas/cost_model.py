"""Costs of the networks of DNAS's three supernets, and the parts they are summed from.

What a stage has not decided yet is counted at its mean: an edge is kept with probability 1/2, a
node draws three of its operations evenly. So every stage aims at the cost of the final network, and
leaves the target about in the middle of what the next stages can reach.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from dnas_mmseg.cost.parts import (
    AddedTo,
    Part,
    Parts,
    head_on,
    head_settings,
    norm_fact,
    norm_on_one_device,
)
from dnas_mmseg.cost.table import (
    CostError,
    CostTable,
    drawn_probabilities,
    format_cost,
    meet_target,
)
from dnas_mmseg.spaces.cost_model import EXTREME, CostModel
from dnas_mmseg.spaces.scales import NUM_SCALES, Node

from .architecture import DNASArchitecture
from .cost import (
    Undecided,
    cell_part,
    cost_range,
    expected_head_cost,
    head_part,
    network_cost,
    operation_costs,
    path_edge_costs,
    resize_part,
)
from .decoding import (
    OPERATIONS_PER_NODE,
    decode_cells,
    decode_connections,
    decode_path,
    path_trellis,
)
from .lattice import Lattice, Stem
from .operations import BUILDERS

if TYPE_CHECKING:
    from .supernets import DNASCellSupernet, DNASConnectionSupernet, DNASPathSupernet

_ROOM = 1.3
"""Factor by which a target should lie within the costs that later stages can reach."""


class _DNASCosts(CostModel[DNASArchitecture]):
    """Base of the cost models of all three stages.

    Args:
        undecided: Architecture that the stage starts from.
        table: Costs of the parts.
    """

    def __init__(self, undecided: DNASArchitecture, table: CostTable) -> None:
        super().__init__(table)
        self._undecided = undecided

    def cost(self, architecture: DNASArchitecture) -> float:
        return network_cost(architecture, self.table)

    def range(self, architecture: DNASArchitecture | None = None) -> tuple[float, float]:
        architecture = self._undecided if architecture is None else architecture
        least = network_cost(architecture, self.table, 'least')
        return least, network_cost(architecture, self.table, 'most')


class DNASPathCosts(_DNASCosts):
    """Costs of the paths that the first supernet weighs, completed by the later stages."""

    def __init__(self, supernet: DNASPathSupernet, table: CostTable) -> None:
        super().__init__(supernet.architecture, table)
        self._supernet = supernet

    def decode(self, price: float = 0.0, undecided: Undecided = 'mean') -> DNASArchitecture:
        """See :class:`CostModel`; ``undecided`` is that of :func:`network_cost`."""
        lattice = self._supernet.architecture
        costs = np.array(path_edge_costs(lattice, self.table, undecided))
        return decode_path(lattice, self._supernet.scores() - price * costs)

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
        # Growing prices lead to cheaper paths, negative ones to dearer paths; the first that will
        # do is the most preferred. Paths are priced by their means, then by the end that counts.
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
        lattice = self._supernet.architecture
        weights = self._supernet.path_weights(self._supernet.betas.double())
        return path_trellis(lattice).mean_over_paths(weights, path_edge_costs(lattice, self.table))

    def range(self, architecture: DNASArchitecture | None = None) -> tuple[float, float]:
        if architecture is None:
            return cost_range(self._supernet.architecture.layers, self.table)
        return super().range(architecture)

    def _range_of_means(self, unit: float) -> tuple[float, float]:
        """Return the mean costs of the cheapest and of the dearest path.

        Args:
            unit: Cost of about the size of theirs.
        """
        ends = sorted(self.cost(self.decode(sign * EXTREME / unit)) for sign in (1, -1))
        return ends[0], ends[1]


class DNASConnectionCosts(_DNASCosts):
    """Costs of the connections that the second supernet's gates keep."""

    def __init__(self, supernet: DNASConnectionSupernet, table: CostTable) -> None:
        super().__init__(supernet.architecture.at_level('path'), table)
        self._supernet = supernet
        # Three operations at their mean.
        self._edge_costs = np.array(
            [
                OPERATIONS_PER_NODE * operation_costs((source,), target, table).mean()
                for source, target in supernet.architecture.edges
            ]
        )

    def decode(self, price: float = 0.0) -> DNASArchitecture:
        scores = self._supernet.scores() - price * self._edge_costs
        return decode_connections(self._supernet.architecture, (scores > 0).tolist())

    def expected(self) -> Tensor:
        """Return the mean cost over independent gates, ``sigmoid(beta)``, dead edges included."""
        supernet, lattice = self._supernet, self._supernet.architecture
        core = torch.tensor(supernet.is_core, device=supernet.betas.device)
        kept = torch.where(core, 1.0, supernet.betas.double().sigmoid())
        present = [
            (spec.node.scale, 1 - (1 - gates).prod())
            for spec, gates in supernet.by_node(kept)
            if spec.node.layer == lattice.layers - 1
        ]
        cells = (kept * torch.from_numpy(self._edge_costs).to(kept)).sum()
        return self.table['stem'] + cells + expected_head_cost(present, self.table)


class DNASCellCosts(_DNASCosts):
    """Costs of the operations that the third supernet's nodes keep.

    Args:
        supernet: Supernet whose networks are costed.
        table: Costs of the parts.
        within: Part of the supernet's nodes and edges to decide on; all by default.
    """

    def __init__(
        self,
        supernet: DNASCellSupernet,
        table: CostTable,
        within: DNASArchitecture | None = None,
    ) -> None:
        super().__init__(supernet.architecture if within is None else within.pruned(), table)
        self._supernet = supernet
        rows = {spec.node: row for row, spec in enumerate(supernet.architecture.nodes)}
        self._rows = [rows[spec.node] for spec in self._undecided.nodes]
        self._costs = np.stack(
            [operation_costs(spec.inputs, spec.node, table) for spec in self._undecided.nodes]
        )

    def decode(self, price: float = 0.0) -> DNASArchitecture:
        scores = self._supernet.scores()[self._rows] - price * self._costs
        return decode_cells(self._undecided, scores)

    def expected(self) -> Tensor:
        """Return the mean cost if each node draws three operations by ``softmax(alphas)``."""
        weights = self._supernet.alphas[self._rows].double().softmax(1)
        drawn = drawn_probabilities(weights, OPERATIONS_PER_NODE)
        cells = (drawn * torch.from_numpy(self._costs).to(drawn)).sum()
        head = head_part(node.scale for node in self._undecided.outputs)
        return self.table['stem'] + cells + self.table[head]

    def within(self, architecture: DNASArchitecture) -> DNASCellCosts:
        return DNASCellCosts(self._supernet, self.table, architecture)


def dnas_parts(lattice: Lattice, model: Mapping[str, Any], size: tuple[int, int]) -> Parts:
    """Return the parts of networks that have a lattice's width, bands and normalisation.

    Args:
        lattice: Supernet of any stage.
        model: Config of the segmentor that the found network will be in, for its head.
        size: Height and width of the images.
    """
    facts = {
        'space': 'dnas',
        'base_channels': lattice.base_channels,
        'bands': lattice.in_channels,
        'size': list(size),
        'operations': list(BUILDERS),
        'norm': norm_fact(lattice.norm_cfg),
        'head': head_settings(model),
    }
    return Parts(facts, _modules(lattice, model, size))


def _modules(lattice: Lattice, model: Mapping[str, Any], size: tuple[int, int]) -> Iterator[Part]:
    sizes = [tuple(-(-side // (4 * 2**s)) for side in size) for s in range(NUM_SCALES)]
    shapes = [(1, lattice.base_channels * 2**s, *sizes[s]) for s in range(NUM_SCALES)]
    norm = norm_on_one_device(lattice.norm_cfg)
    stem = Stem(lattice.in_channels, lattice.base_channels, norm)
    yield Part('stem', stem, ((1, lattice.in_channels, *size),))
    for a, b in product(range(NUM_SCALES), repeat=2):
        source, target = Node(0, a), Node(1, b)
        for name, build in BUILDERS.items():
            cell = AddedTo(build(shapes[a][1], shapes[b][1], norm))
            given = (*shapes[a][:2], *sizes[b])
            yield Part(cell_part(source, target, name), cell, (given, shapes[b]))
        if a != b:
            resize = nn.Upsample(sizes[b], mode='bilinear', align_corners=True)
            yield Part(resize_part(source, target), resize, (shapes[a],))
    for chosen in product((False, True), repeat=NUM_SCALES):
        scales = [s for s in range(NUM_SCALES) if chosen[s]]
        if scales:
            inputs = tuple(shapes[s] for s in scales)
            head = head_on(model, [shape[1] for shape in inputs])
            yield Part(head_part(scales), head, inputs)
