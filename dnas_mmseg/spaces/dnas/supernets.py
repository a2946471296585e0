"""Supernets of the three stages of DNAS.

Source: Wang et al. 2022, Remote Sensing 14(16), 3864, sections 3.1 to 3.3.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from dnas_mmseg.cost.parts import Parts
from dnas_mmseg.cost.table import CostTable
from dnas_mmseg.spaces.architecture import Architecture
from dnas_mmseg.spaces.decisions import Decision
from dnas_mmseg.spaces.registry import load_for
from dnas_mmseg.spaces.scales import Node
from dnas_mmseg.spaces.supernet import Supernet, architecture_parameter

from .architecture import OPERATIONS, DNASArchitecture, NodeSpec
from .cost import DNASCellCosts, DNASConnectionCosts, DNASPathCosts, dnas_parts
from .decoding import (
    connection_lattice,
    core_edges,
    decode_cells,
    decode_connections,
    decode_path,
    path_lattice,
)
from .lattice import Lattice
from .operations import Cell, LightCell


class _DNASSupernet(Lattice, Supernet):
    """Base class of the supernets of all three stages."""

    def parts(self, model: Mapping[str, Any], size: tuple[int, int]) -> Parts:
        return dnas_parts(self, model, size)


class _LightSupernet(_DNASSupernet):
    """Supernet of light cells (ReLU, conv3x3, norm) with one architecture parameter per edge.

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
        """Return the resized map after the ReLU that its cells share."""
        return super().resized_input(x, size).relu()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map images (N, in_channels, H, W) to the nodes of the last layer, finest first."""
        return self.run(x, self.edge_weights(self.betas))

    @abstractmethod
    def edge_weights(self, betas: Tensor) -> Mapping[Node, Sequence[Tensor | None]]:
        """Return the weights of each node's cells, by input; None for unweighted cells."""

    def by_node(self, per_edge: Tensor) -> list[tuple[NodeSpec, Tensor]]:
        """Split values of the edges, (edges,), by target node."""
        specs = self.architecture.nodes
        return list(zip(specs, per_edge.split([len(s.inputs) for s in specs]), strict=True))


@MODELS.register_module()
class DNASPathSupernet(_LightSupernet):
    """Supernet of stage 1, which contains all paths through the scales (section 3.1).

    The weights of a node's incoming edges are the softmax of their ``betas``, times their number
    divided by 3. The decoded path has the largest product of weights.

    Args:
        layers: Number of layers, at least 4.
        in_channels, base_channels, norm_cfg, with_cp, init_cfg: Arguments of :class:`Lattice`.
    """

    def __init__(self, layers: int, *args, **kwargs) -> None:
        super().__init__(path_lattice(layers), *args, **kwargs)
        self.decisions = tuple(
            Decision('incoming', spec.node, spec.inputs) for spec in self.architecture.nodes
        )

    def edge_weights(self, betas: Tensor) -> Mapping[Node, Sequence[Tensor]]:
        return {
            spec.node: (len(spec.inputs) / 3 * b.softmax(0)).unbind()
            for spec, b in self.by_node(betas)
        }

    def probabilities(self) -> list[Tensor]:
        return [b.softmax(0) for _, b in self.by_node(self.betas.detach())]

    def scores(self) -> np.ndarray:
        """Return the logarithms of the edges' weights, (edges,)."""
        return self.weights().detach().log().cpu().numpy()

    def weights(self) -> Tensor:
        """Return the weights of the edges, (edges,), in the order of ``architecture.edges``."""
        weights = self.edge_weights(self.betas.double())
        return torch.stack([w for spec in self.architecture.nodes for w in weights[spec.node]])

    def decode(self) -> DNASArchitecture:
        return decode_path(self.architecture, self.scores())

    def cost_model(self, table: CostTable) -> DNASPathCosts:
        return DNASPathCosts(self.architecture, self, table)


@MODELS.register_module()
class DNASConnectionSupernet(_LightSupernet):
    """Supernet of stage 2, which contains all connections around a core path (section 3.2).

    Args:
        architecture: Architecture of level ``'path'``: published name, JSON path, document or
            value.
        weighting: Weights of the edges outside the core path. ``'gate'``: independent gates
            ``sigmoid(beta)``; edges with a gate above 1/2 are selected. ``'reference'``, as in the
            released code: softmax over all edges of a node, including the core edge, whose weight
            is fixed; edges with beta > 0 are selected. The beta of an edge that is its node's only
            one then never gets a gradient.
        in_channels, base_channels, norm_cfg, with_cp, init_cfg: Arguments of :class:`Lattice`.

    Raises:
        ArchitectureError: The space or level of the architecture differs.
    """

    def __init__(
        self,
        architecture: str | os.PathLike | Mapping | Architecture,
        *args,
        weighting: Literal['gate', 'reference'] = 'gate',
        **kwargs,
    ) -> None:
        by = 'backbone DNASConnectionSupernet'
        path = load_for(by, architecture, DNASArchitecture, 'path')
        super().__init__(connection_lattice(path), *args, **kwargs)
        self.weighting = weighting
        core = core_edges(path.path)
        self.is_core = [edge in core for edge in self.architecture.edges]
        self.decisions = tuple(
            Decision('gate', target, (source,))
            for (source, target), is_core in zip(self.architecture.edges, self.is_core, strict=True)
            if not is_core
        )

    def edge_weights(self, betas: Tensor) -> Mapping[Node, Sequence[Tensor | None]]:
        if self.weighting == 'gate':
            weights = betas.sigmoid()
        else:
            weights = torch.cat([b.softmax(0) for _, b in self.by_node(betas)])
        core = iter(self.is_core)
        return {
            spec.node: [None if next(core) else w for w in ws.unbind()]
            for spec, ws in self.by_node(weights)
        }

    def probabilities(self) -> list[Tensor]:
        gates = self.betas.detach().sigmoid()
        return [gate.reshape(1) for gate, core in zip(gates, self.is_core, strict=True) if not core]

    def scores(self) -> np.ndarray:
        """Return the scores of the edges, (edges,); edges with a positive score are selected."""
        return self.betas.detach().double().cpu().numpy()

    def weights(self) -> Tensor:
        """Return the probabilities of the edges, (edges,); 1 on the core path."""
        core = torch.tensor(self.is_core, device=self.betas.device)
        return torch.where(core, 1.0, self.betas.double().sigmoid())

    def decode(self) -> DNASArchitecture:
        return decode_connections(self.architecture, (self.scores() > 0).tolist())

    def cost_model(self, table: CostTable) -> DNASConnectionCosts:
        return DNASConnectionCosts(self.architecture, self, table)


@MODELS.register_module()
class DNASCellSupernet(_DNASSupernet):
    """Supernet of stage 3, which contains all operations of all cells (section 3.3).

    Operations are weighted by the softmax of their node's row of ``alphas`` (nodes, operations).
    The decoded nodes have their three operations with the largest weights.

    Args:
        architecture: Architecture of level ``'connection'``: published name, JSON path, document or
            value.
        in_channels, base_channels, prune, norm_cfg, with_cp, init_cfg: Arguments of
            :class:`Lattice`.

    Raises:
        ArchitectureError: The space or level of the architecture differs.
    """

    def __init__(
        self, architecture: str | os.PathLike | Mapping | Architecture, *args, **kwargs
    ) -> None:
        by = 'backbone DNASCellSupernet'
        lattice = load_for(by, architecture, DNASArchitecture, 'connection')
        super().__init__(lattice, *args, **kwargs)
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

    def scores(self) -> np.ndarray:
        """Return the logarithms of the operations' weights, (nodes, operations)."""
        return self.alphas.detach().double().log_softmax(1).cpu().numpy()

    def weights(self) -> Tensor:
        """Return the weights of the operations, (nodes, operations); each row sums to 1."""
        return self.alphas.double().softmax(1)

    def decode(self) -> DNASArchitecture:
        return decode_cells(self.architecture, self.scores())

    def cost_model(self, table: CostTable) -> DNASCellCosts:
        return DNASCellCosts(self.architecture, self, table)
