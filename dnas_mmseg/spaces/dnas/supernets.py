"""The supernets of the three stages of DNAS (paper, sections 3.1 to 3.3)."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, Literal

import numpy as np
import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from dnas_mmseg.cost.parts import AddedTo, head_on, head_settings
from dnas_mmseg.cost.table import (
    CostError,
    CostTable,
    drawn_probabilities,
    expected_path_cost,
    format_cost,
    meet_target,
)
from dnas_mmseg.spaces.architecture import Architecture
from dnas_mmseg.spaces.decisions import Decision
from dnas_mmseg.spaces.registry import load_architecture
from dnas_mmseg.spaces.scales import NUM_SCALES, Node
from dnas_mmseg.spaces.supernet import (
    EXTREME,
    Supernet,
    architecture_parameter,
    norm_fact,
    norm_on_one_device,
)

from .architecture import OPERATIONS, DNASArchitecture, NodeSpec
from .cost import (
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
    connection_lattice,
    core_edges,
    decode_cells,
    decode_connections,
    decode_path,
    path_lattice,
)
from .lattice import Lattice, Stem
from .operations import OPERATIONS as BUILDERS
from .operations import Cell, LightCell


class _DNASSupernet(Lattice, Supernet):
    """Lattice whose networks' cost is that of all three stages."""

    def cost(self, architecture: DNASArchitecture, table: CostTable) -> float:
        return network_cost(architecture, table)

    def cost_range(
        self, table: CostTable, architecture: DNASArchitecture | None = None
    ) -> tuple[float, float]:
        architecture = self.undecided if architecture is None else architecture
        return tuple(network_cost(architecture, table, bound) for bound in ('least', 'most'))

    @property
    def undecided(self) -> DNASArchitecture:
        """Architecture this stage starts from."""
        return self.architecture

    def cost_facts(self, model: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
        return {
            'space': 'dnas',
            'base_channels': self.base_channels,
            'bands': self.in_channels,
            'size': list(size),
            'norm': norm_fact(self.norm_cfg),
            'head': head_settings(model),
        }

    def cost_parts(
        self, model: Mapping[str, Any], size: tuple[int, int]
    ) -> Iterator[tuple[str, nn.Module, tuple[tuple[int, ...], ...]]]:
        sizes = [tuple(-(-side // (4 * 2**s)) for side in size) for s in range(NUM_SCALES)]
        shapes = [(1, self.base_channels * 2**s, *sizes[s]) for s in range(NUM_SCALES)]
        norm = norm_on_one_device(self.norm_cfg)
        yield (
            'stem',
            Stem(self.in_channels, self.base_channels, norm),
            ((1, self.in_channels, *size),),
        )
        for a, b in product(range(NUM_SCALES), repeat=2):
            source, target = Node(0, a), Node(1, b)
            for name, build in BUILDERS.items():
                cell = AddedTo(build(shapes[a][1], shapes[b][1], norm))
                given = (*shapes[a][:2], *sizes[b])
                yield cell_part(source, target, name), cell, (given, shapes[b])
            if a != b:
                resize = nn.Upsample(sizes[b], mode='bilinear', align_corners=True)
                yield resize_part(source, target), resize, (shapes[a],)
        for chosen in product((False, True), repeat=NUM_SCALES):
            scales = [s for s in range(NUM_SCALES) if chosen[s]]
            if scales:
                inputs = tuple(shapes[s] for s in scales)
                head = head_on(model, [shape[1] for shape in inputs])
                yield head_part(scales), head, inputs


class _LightSupernet(_DNASSupernet):
    """A supernet of light cells (ReLU, conv3x3, norm) with an architecture parameter an edge.

    ``betas`` has the shape (edges,), in the order of ``architecture.edges``.
    """

    def __init__(self, lattice: DNASArchitecture, *args, **kwargs) -> None:
        super().__init__(lattice, *args, **kwargs)
        self.betas = architecture_parameter(len(lattice.edges))

    def build_cell(
        self, spec: NodeSpec, in_channels: int, out_channels: int, norm_cfg: dict
    ) -> LightCell:
        return LightCell(in_channels, out_channels, norm_cfg)

    def architecture_parameters(self) -> dict[str, nn.Parameter]:
        return {'betas': self.betas}

    def resized_input(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Resized, then the ReLU that all cells reading it begin with."""
        return super().resized_input(x, size).relu()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map images (N, in_channels, H, W) to the nodes of the last layer, finest first."""
        return self.run(x, self.edge_weights(self.betas))

    @abstractmethod
    def edge_weights(self, betas: Tensor) -> dict[Node, Sequence[Tensor | None]]:
        """Return what a node multiplies its inputs' cells by; None leaves a cell as it is."""

    def _by_node(self, per_edge: Tensor) -> list[tuple[NodeSpec, Tensor]]:
        """Values of the edges, cut into those of each node."""
        specs = self.architecture.nodes
        return list(zip(specs, per_edge.split([len(s.inputs) for s in specs]), strict=True))


@MODELS.register_module()
class DNASPathSupernet(_LightSupernet):
    """Stage 1: all paths through the scales.

    A node's incoming edges are weighted by the softmax of their ``betas``, times their number / 3.
    The decoded path is the most probable one under these weights.

    Args:
        layers: Number of layers, at least 4.
        in_channels, base_channels, norm_cfg, with_cp, init_cfg: See :class:`Lattice`.
    """

    def __init__(self, layers: int, *args, **kwargs) -> None:
        super().__init__(path_lattice(layers), *args, **kwargs)
        self.decisions = tuple(
            Decision('incoming', spec.node, spec.inputs) for spec in self.architecture.nodes
        )

    def edge_weights(self, betas: Tensor) -> dict[Node, Sequence[Tensor]]:
        return {
            spec.node: (len(spec.inputs) / 3 * b.softmax(0)).unbind()
            for spec, b in self._by_node(betas)
        }

    def probabilities(self) -> list[Tensor]:
        return [b.softmax(0) for _, b in self._by_node(self.betas.detach())]

    def decode(
        self,
        price: float = 0.0,
        table: CostTable | None = None,
        completion: Literal['mean', 'least', 'most'] = 'mean',
    ) -> DNASArchitecture:
        """See :class:`Supernet`.

        Args:
            price, table: See there.
            completion: How what is open is counted.
        """
        scores = self._weights(self.betas.detach().double()).log().cpu().numpy()
        if table is not None:
            costs = path_edge_costs(self.architecture, table, completion)
            scores = scores - price * np.array(costs)
        name = f'dnas_l{self.architecture.layers}'
        return decode_path(self.architecture, scores, name=name)

    def decode_to(self, table: CostTable, target: float) -> DNASArchitecture:
        """The preferred path whose mean network costs about the target.

        Where no path's mean network does, the preferred path from which the later stages can still
        reach it with room on both sides; failing that, one from which they can reach it at all.

        Raises:
            CostError: There is none.
        """

        def mean(path: DNASArchitecture) -> float:
            return network_cost(path, table)

        def reaches(path: DNASArchitecture, room: float) -> bool:
            least, most = self.cost_range(table, path)
            return room * least <= target <= most / room

        cheapest, dearest = (self.decode(sign * EXTREME / target, table) for sign in (1, -1))
        if mean(cheapest) <= target <= mean(dearest):
            path = meet_target(lambda price: self.decode(price / target, table), mean, target)
            if reaches(path, 1):
                return path
        sign = 1 if target < mean(cheapest) else -1
        prices = [0.0, *(sign * 2.0**k for k in range(-14, 14))]
        bound = 'least' if sign > 0 else 'most'
        for room, completion in ((1.3, 'mean'), (1.3, bound), (1, 'mean'), (1, bound)):
            for price in prices:
                path = self.decode(price / target, table, completion)
                if reaches(path, room):
                    return path
        raise CostError(f'no path leads to networks of {format_cost(target, table.metric)}')

    def expected_cost_at(self, table: CostTable, target: float) -> float:
        """See :class:`Supernet`: within what mean networks of paths cost."""
        ends = [
            network_cost(self.decode(sign * EXTREME / target, table), table) for sign in (1, -1)
        ]
        return min(max(target, min(ends)), max(ends))

    def expected_cost(self, table: CostTable) -> Tensor:
        """Over paths as probable as the product of their weights, whose best one is decoded."""
        weights = self._weights(self.betas.double())
        lattice = self.architecture
        costs = path_edge_costs(lattice, table)
        return expected_path_cost(lattice.edges, weights.unbind(), costs, lattice.outputs)

    def cost_range(
        self, table: CostTable, architecture: DNASArchitecture | None = None
    ) -> tuple[float, float]:
        if architecture is None:
            return cost_range(self.architecture.layers, table)
        return super().cost_range(table, architecture)

    def _weights(self, betas: Tensor) -> Tensor:
        """Return every edge's weight, in the order of ``architecture.edges``."""
        weights = self.edge_weights(betas)
        return torch.stack([w for spec in self.architecture.nodes for w in weights[spec.node]])


@MODELS.register_module()
class DNASConnectionSupernet(_LightSupernet):
    """Stage 2: which further connections to keep around a core path.

    Args:
        architecture: Published name, JSON path, document or value of level ``'path'``.
        weighting: ``'gate'``: every edge off the core path has its own gate, ``sigmoid(beta)``, and
            is kept where that exceeds 1/2. ``'reference'``: as the released code weighs them, by
            the softmax over a node's edges, in which the core edge takes its share although its
            weight is fixed; kept where beta > 0. There the beta of an edge that is its node's only
            one never gets a gradient.
        in_channels, base_channels, norm_cfg, with_cp, init_cfg: See :class:`Lattice`.

    Raises:
        ArchitectureError: The architecture is of another space or level.
    """

    def __init__(
        self,
        architecture: str | os.PathLike | Mapping | Architecture,
        *args,
        weighting: Literal['gate', 'reference'] = 'gate',
        **kwargs,
    ) -> None:
        architecture = load_architecture(architecture)
        architecture.require('dnas', 'path', by='backbone DNASConnectionSupernet')
        super().__init__(connection_lattice(architecture), *args, **kwargs)
        self.weighting = weighting
        core = core_edges(architecture.path)
        self._is_core = [edge in core for edge in self.architecture.edges]
        self.decisions = tuple(
            Decision('gate', target, (source,))
            for (source, target), is_core in zip(
                self.architecture.edges, self._is_core, strict=True
            )
            if not is_core
        )

    def edge_weights(self, betas: Tensor) -> dict[Node, Sequence[Tensor | None]]:
        if self.weighting == 'gate':
            weights = betas.sigmoid()
        else:
            weights = torch.cat([b.softmax(0) for _, b in self._by_node(betas)])
        core = iter(self._is_core)
        return {
            spec.node: [None if next(core) else w for w in ws.unbind()]
            for spec, ws in self._by_node(weights)
        }

    def probabilities(self) -> list[Tensor]:
        gates = self.betas.detach().sigmoid()
        return [
            gate.reshape(1) for gate, core in zip(gates, self._is_core, strict=True) if not core
        ]

    def decode(self, price: float = 0.0, table: CostTable | None = None) -> DNASArchitecture:
        scores = self.betas.detach().double().cpu().numpy()
        if table is not None:
            scores = scores - price * self._edge_costs(table)
        return decode_connections(self.architecture, (scores > 0).tolist())

    def expected_cost(self, table: CostTable) -> Tensor:
        """Over independent gates, ``sigmoid(beta)``; the edges that are kept before liveness."""
        core = torch.tensor(self._is_core, device=self.betas.device)
        kept = torch.where(core, 1.0, self.betas.double().sigmoid())
        costs = torch.from_numpy(self._edge_costs(table)).to(kept)
        last = self.architecture.layers - 1
        present = [
            (spec.node.scale, 1 - (1 - gates).prod())
            for spec, gates in self._by_node(kept)
            if spec.node.layer == last
        ]
        return table['stem'] + (kept * costs).sum() + expected_head_cost(present, table)

    @property
    def undecided(self) -> DNASArchitecture:
        return self.architecture.at_level('path')

    def _edge_costs(self, table: CostTable) -> np.ndarray:
        """Return what keeping an edge costs: three operations at their mean."""
        return np.array(
            [
                OPERATIONS_PER_NODE * operation_costs((source,), target, table).mean()
                for source, target in self.architecture.edges
            ]
        )


@MODELS.register_module()
class DNASCellSupernet(_DNASSupernet):
    """Stage 3: which operations a node's cells have.

    Every edge's cell holds all operations, weighted by the softmax of its node's row of ``alphas``
    (nodes, operations). The decoded network keeps each node's three largest.

    Args:
        architecture: Published name, JSON path, document or value of level ``'connection'``.
        in_channels, base_channels, prune, norm_cfg, with_cp, init_cfg: See :class:`Lattice`.

    Raises:
        ArchitectureError: The architecture is of another space or level.
    """

    holds_several_networks = True

    def __init__(
        self, architecture: str | os.PathLike | Mapping | Architecture, *args, **kwargs
    ) -> None:
        architecture = load_architecture(architecture)
        architecture.require('dnas', 'connection', by='backbone DNASCellSupernet')
        super().__init__(architecture, *args, **kwargs)
        specs = self.architecture.nodes
        self.alphas = architecture_parameter(len(specs), len(OPERATIONS))
        self.decisions = tuple(Decision('operation', spec.node, OPERATIONS) for spec in specs)

    def build_cell(
        self, spec: NodeSpec, in_channels: int, out_channels: int, norm_cfg: dict
    ) -> Cell:
        return Cell(OPERATIONS, in_channels, out_channels, norm_cfg)

    def architecture_parameters(self) -> dict[str, nn.Parameter]:
        return {'alphas': self.alphas}

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map images (N, in_channels, H, W) to the live nodes of the last layer, finest first."""
        rows = self.alphas.softmax(1)
        weights: dict[Node, Any] = {
            spec.node: [row.unbind()] * len(spec.inputs)
            for spec, row in zip(self.architecture.nodes, rows, strict=True)
        }
        return self.run(x, weights)

    def probabilities(self) -> list[Tensor]:
        return list(self.alphas.detach().softmax(1))

    def decode(
        self,
        price: float = 0.0,
        table: CostTable | None = None,
        within: DNASArchitecture | None = None,
    ) -> DNASArchitecture:
        """See :class:`Supernet`.

        Args:
            price, table: See there.
            within: A part of the supernet's nodes and edges to decide on; all by default.
        """
        architecture = self.architecture if within is None else within.pruned()
        rows = {spec.node: i for i, spec in enumerate(self.architecture.nodes)}
        scores = self.alphas.detach().double().log_softmax(1).cpu().numpy()
        scores = scores[[rows[spec.node] for spec in architecture.nodes]]
        if table is not None:
            scores = scores - price * self._costs(architecture, table)
        return decode_cells(architecture, scores)

    def expected_cost(self, table: CostTable) -> Tensor:
        """Over three operations a node, drawn one after another by ``softmax(alphas)``."""
        architecture = self.architecture
        drawn = drawn_probabilities(self.alphas.double().softmax(1), OPERATIONS_PER_NODE)
        costs = torch.from_numpy(self._costs(architecture, table)).to(drawn)
        head = table[head_part(node.scale for node in architecture.outputs)]
        return table['stem'] + (drawn * costs).sum() + head

    @staticmethod
    def _costs(architecture: DNASArchitecture, table: CostTable) -> np.ndarray:
        """Return the cost of every operation in each node, (nodes, operations)."""
        return np.stack(
            [operation_costs(spec.inputs, spec.node, table) for spec in architecture.nodes]
        )
