"""Supernet of the Auto-DeepLab space (Liu et al., CVPR 2019, sections 3 and 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from dnas_mmseg.cost.parts import Parts
from dnas_mmseg.cost.table import CostTable
from dnas_mmseg.errors import UserError
from dnas_mmseg.models.layers.input_bands import require_bands
from dnas_mmseg.models.layers.operation import Operation, conv_norm, sum_tensors
from dnas_mmseg.models.layers.recompute import recompute
from dnas_mmseg.spaces.decisions import Decision
from dnas_mmseg.spaces.scales import NUM_SCALES, STEM, Node, size_at
from dnas_mmseg.spaces.space import network_arguments
from dnas_mmseg.spaces.supernet import Supernet, architecture_parameter, softmax_over

from .architecture import ONE_BEFORE, TWO_BEFORE, AutoDeepLabArchitecture
from .cost import AutoDeepLabCosts, autodeeplab_parts
from .decoding import OPTIONS, decode
from .graph import pairs, trellis
from .network import (
    CONVOLUTIONS,
    POOLS_AND_SKIP,
    STEM_CHANNELS,
    AutoDeepLabStem,
    resize,
)


class StateReader(nn.Module):
    """Operations on a state of a cell, for all blocks that can read it.

    The channels of all these blocks are concatenated: maps are small, and a few large convolutions
    take a third of the time of many small ones.

    Args:
        rows: Rows of the cell's parameters of the branches that read the state.
        channels: Number of channels of the state, and of each block.
        norm_cfg: Config of the normalisation layers.
    """

    def __init__(self, rows: Sequence[int], channels: int, norm_cfg: dict) -> None:
        super().__init__()
        self.rows, self.channels = list(rows), channels
        self.convolutions = nn.ModuleDict(
            {
                name: build(channels, stride=1, norm_cfg=norm_cfg, copies=len(self.rows))
                for name, build in CONVOLUTIONS.items()
            }
        )
        self.plain = nn.ModuleDict({name: build(1) for name, build in POOLS_AND_SKIP.items()})

    def forward(self, x: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
        """Map a state to the inputs of the blocks that read it, (N, channels, H, W) each.

        Args:
            x: State, (N, channels, H, W).
            weights: Weights of the operations, (pairs, options).
        """
        weights = weights[self.rows]
        wide = weights.repeat_interleave(self.channels, 0)
        rectified = x.relu()
        total = sum_tensors(
            operation(rectified, wide[:, OPTIONS.index(name)])
            for name, operation in self.convolutions.items()
        ).unflatten(1, (len(self.rows), self.channels))
        for name, operation in self.plain.items():
            weight = weights[:, OPTIONS.index(name)].reshape(-1, 1, 1, 1)
            total = total.addcmul_(operation(x).unsqueeze(1), weight)
        return total.unbind(1)


class SearchCell(nn.Module):
    """The cell of a node with all branches, for the inputs from all scales (equation 6).

    The inputs of all scales share one cell, as in the searched network, and are processed as one
    batch. Branches on the output two layers before are equal for all of them and computed once.

    Args:
        blocks: Number of blocks of the cell.
        two_before: Number of channels of the output two layers before.
        one_before: Pairs (channels, stride) of the inputs from the previous layer; the stride is 2
            from a finer scale, else 1.
        channels: Number of channels of each block.
        norm_cfg: Config of the normalisation layers.
    """

    def __init__(
        self,
        blocks: int,
        two_before: int,
        one_before: Sequence[tuple[int, int]],
        channels: int,
        norm_cfg: dict,
    ) -> None:
        super().__init__()
        self.enter_two = Operation(nn.ReLU(), *conv_norm(two_before, channels, 1, norm_cfg), norm=2)
        self.enter_one = nn.ModuleList(
            Operation(
                nn.ReLU(),
                *conv_norm(width, channels, 3 if stride == 2 else 1, norm_cfg, stride=stride),
                norm=2,
            )
            for width, stride in one_before
        )
        self.reads = nn.ModuleList(
            StateReader(
                [i for i, (_, s) in enumerate(pairs(blocks)) if s == state], channels, norm_cfg
            )
            for state in range(blocks + 1)
        )

    def forward(
        self, weights: Tensor, edges: Tensor, two_before: Tensor, *one_before: Tensor
    ) -> Tensor:
        """Map the inputs of the node to (N, blocks * channels, H, W).

        Args:
            weights: Weights of the operations, (pairs, options); each row sums to 1.
            edges: Weights of the node's incoming edges, (inputs,).
            two_before: Output two layers before, at the node's size.
            one_before: Outputs of the previous layer, at the node's size, or twice that size if the
                stride is 2.
        """
        count = len(one_before)
        state = torch.cat([enter(x) for enter, x in zip(self.enter_one, one_before, strict=True)])
        shared_terms = self.reads[TWO_BEFORE](self.enter_two(two_before), weights)
        terms: list[list[Tensor]] = [[] for _ in shared_terms]
        outputs: list[Tensor] = []
        for read, shared in zip(self.reads[ONE_BEFORE:], shared_terms, strict=True):
            # A state is read by all later blocks.
            results = read(state, weights)
            for block, term in zip(terms[-len(results) :], results, strict=True):
                block.append(term)
            state = sum_tensors([shared.repeat(count, 1, 1, 1), *terms[len(outputs)]])
            parts = zip(edges, state.chunk(count), strict=True)
            outputs.append(sum_tensors(weight * part for weight, part in parts))
        return torch.cat(outputs, 1)


@MODELS.register_module()
class AutoDeepLabSupernet(BaseModule, Supernet):
    """Supernet of the Auto-DeepLab space, which contains all paths and all branches of all cells.

    The weights of edges are a softmax of ``betas`` (edges,) over the outgoing edges of each node.
    The weights of the options of branches, one of which is no connection, are a softmax of
    ``alphas`` (pairs, options), which all cells share. Layers at scale s have ``filters * 2**s``
    channels per block. If no output two layers before has the scale of a node, the nearest one is
    resized.

    Source: Liu et al., CVPR 2019 (arXiv 1901.02985), sections 3 and 4.

    Args:
        layers: Number of layers, at least 3.
        filters: Number of channels of a block at stride 4; the searched network can have more.
        blocks: Number of blocks of the cell.
        in_channels: Number of bands of the input.
        stem_channels: Numbers of channels of the stem's three convolutions.
        norm_cfg: Config of the normalisation layers.
        with_cp: Whether to recompute the nodes' activations in backward to save memory.
        init_cfg: Config of an initialisation after torch's.

    Attributes:
        out_channels: Numbers of channels of the outputs (nodes of the last layer), finest first.
        strides: Strides of the outputs.
    """

    def __init__(
        self,
        layers: int = 12,
        filters: int = 8,
        blocks: int = 5,
        in_channels: int = 4,
        stem_channels: Sequence[int] = STEM_CHANNELS,
        norm_cfg: dict = dict(type='BN', eps=1e-3),  # noqa: B006
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if filters < 1 or blocks < 1:
            raise UserError(f'filters = {filters}, blocks = {blocks}: at least 1 each is required')
        self.trellis = trellis(layers)
        self.layers, self.blocks, self.filters = layers, blocks, filters
        self.in_channels, self.stem_channels = in_channels, tuple(stem_channels)
        self.norm_cfg, self.with_cp = norm_cfg, with_cp
        self.betas = architecture_parameter(len(self.trellis.edges))
        self.alphas = architecture_parameter(len(pairs(blocks)), len(OPTIONS))
        self.stem = AutoDeepLabStem(in_channels, stem_channels, norm_cfg)
        self.nodes = nn.ModuleDict()
        for node, incoming in self.trellis.incoming.items():
            sources = [self.trellis.edges[i][0] for i in incoming]
            two_before = self._nearest(node)
            self.nodes[_key(node)] = SearchCell(
                blocks,
                stem_channels[1] if two_before is None else self._width(two_before),
                [(self._width(source), 1 + (source.scale < node.scale)) for source in sources],
                filters * 2**node.scale,
                norm_cfg,
            )
        self.out_channels = tuple(map(self._width, self.trellis.ends))
        self.strides = tuple(4 * 2**node.scale for node in self.trellis.ends)
        self.decisions = (
            *(
                Decision('outgoing', node, tuple(self.trellis.edges[i][1] for i in indices))
                for node, indices in self.trellis.outgoing.items()
            ),
            *(Decision('operation', pair, OPTIONS) for pair in pairs(blocks)),
        )

    def architecture_parameters(self) -> dict[str, nn.Parameter]:
        return {'betas': self.betas, 'alphas': self.alphas}

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map images (N, in_channels, H, W) to the nodes of the last layer, finest first."""
        require_bands(self, x)
        size = x.shape[2:]
        edges, weights = self.edge_weights(self.betas), self.alphas.softmax(1)
        half, quarter = self.stem(x)
        earlier: dict[Node | None, Tensor] = {None: half}
        before: dict[Node | None, Tensor] = {STEM: quarter}
        for layer in range(self.layers):
            current: dict[Node | None, Tensor] = {}
            for scale in range(min(layer + 2, NUM_SCALES)):
                node = Node(layer, scale)
                own = size_at(size, 4 * 2**scale)
                maps = [resize(earlier[self._nearest(node)], own)]
                incoming = self.trellis.incoming[node]
                for i in incoming:
                    source = self.trellis.edges[i][0]
                    finer = source.scale < scale
                    maps.append(before[source] if finer else resize(before[source], own))
                arguments = (weights, edges[incoming], *maps)
                cell = self.nodes[_key(node)]
                if self.with_cp and self.training:
                    current[node] = recompute(cell, *arguments)
                else:
                    current[node] = cell(*arguments)
            earlier, before = before, current
        return tuple(before.values())

    def probabilities(self) -> list[Tensor]:
        betas = self.betas.detach()
        edges = [betas[indices].softmax(0) for indices in self.trellis.outgoing.values()]
        return [*edges, *self.alphas.detach().softmax(1)]

    def edge_weights(self, betas: Tensor) -> Tensor:
        """Return the weights of edges, (edges,), which sum to 1 over each node's outgoing edges."""
        return softmax_over(self.trellis.outgoing.values(), betas)

    def scores(self) -> tuple[list[float], np.ndarray]:
        """Return log-weights of edges, (edges,), and of options, (pairs, options)."""
        edges = self.edge_weights(self.betas.detach().double()).log()
        return edges.tolist(), self.alphas.detach().double().log_softmax(1).cpu().numpy()

    def weights(self) -> tuple[Tensor, Tensor]:
        """Return the weights of edges, (edges,), and of options, (pairs, options)."""
        return self.edge_weights(self.betas.double()), self.alphas.double().softmax(1)

    def decode(self) -> AutoDeepLabArchitecture:
        return decode(self.layers, self.blocks, *self.scores())

    def parts(self, model: Mapping[str, Any], size: tuple[int, int]) -> Parts:
        default = dict(type='AutoDeepLab', filters=self.filters, stem_channels=self.stem_channels)
        network = network_arguments(model, default)
        return autodeeplab_parts(self, network, self.blocks, model, size)

    def cost_model(self, table: CostTable) -> AutoDeepLabCosts:
        return AutoDeepLabCosts(self.layers, self.blocks, self, table)

    def _nearest(self, node: Node) -> Node | None:
        """Return the node two layers before that a node reads; None for the stem at stride 2."""
        if node.layer == 0:
            return None
        if node.layer == 1:
            return STEM
        return Node(node.layer - 2, min(node.scale, node.layer - 1))

    def _width(self, node: Node) -> int:
        """Return the number of channels of a node's output."""
        if node == STEM:
            return self.stem_channels[2]
        return self.blocks * self.filters * 2**node.scale


def _key(node: Node) -> str:
    """Return the name of a node's module."""
    return f'l{node.layer}_s{node.scale}'
