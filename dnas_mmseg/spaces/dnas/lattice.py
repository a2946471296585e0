"""Lattice of cells: base class of searched DNAS networks and of their supernets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from dnas_mmseg.errors import UserError
from dnas_mmseg.models.layers.input_bands import require_bands
from dnas_mmseg.models.layers.operation import conv_norm_relu, sum_tensors
from dnas_mmseg.models.layers.recompute import recompute
from dnas_mmseg.spaces.architecture import ArchitectureError
from dnas_mmseg.spaces.scales import STEM, Node, size_at

from .architecture import DNASArchitecture, NodeSpec


class Stem(nn.Sequential):
    """Three 3x3 convolutions of strides 2, 1, 2; the first two have half of the channels."""

    def __init__(self, in_channels: int, channels: int, norm_cfg: dict) -> None:
        layer = partial(conv_norm_relu, kernel_size=3, norm_cfg=norm_cfg, bias=True)
        half = channels // 2
        super().__init__(
            layer(in_channels, half, stride=2), layer(half, half), layer(half, channels, stride=2)
        )


class _ScheduledNode(NamedTuple):
    """Step of a forward pass: a node, its live inputs, the tensors to release afterwards."""

    node: Node
    inputs: tuple[Node, ...]
    release: tuple[tuple[Node, int | None], ...]


class Lattice(BaseModule):
    """Nodes at layers and scales, with a cell on every edge between them.

    Node (l, s) has ``base_channels * 2**s`` channels at stride ``4 * 2**s``; its size is
    ``ceil(input / stride)``, so any input size works. The input of an edge is resized bilinearly,
    once for each (source, target scale).

    Args:
        architecture: Nodes and edges of the network.
        in_channels: Number of bands of the input.
        base_channels: Number of channels at stride 4, an even number; 40 in the paper.
        prune: Whether to omit nodes and edges that do not affect the output. With False, all of
            them are built, as in the authors' checkpoints; the output is the same.
        norm_cfg: Config of the normalisation layers.
        with_cp: Whether to recompute the cells' activations in backward to save memory.
        init_cfg: Config of an initialisation after the paper's, which is kaiming-normal for cells.

    Attributes:
        listed: Architecture before pruning.
        architecture: Architecture that is built.
        outputs: Live nodes of the last layer, finest first.
        out_channels: Numbers of channels of the outputs, finest first.
        strides: Strides of the outputs, finest first.
    """

    def __init__(
        self,
        architecture: DNASArchitecture,
        in_channels: int = 4,
        base_channels: int = 40,
        prune: bool = True,
        norm_cfg: dict = dict(type='BN'),  # noqa: B006
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if base_channels < 2 or base_channels % 2:
            raise UserError(f'base_channels = {base_channels}: an even number is required')
        self.listed = architecture
        self.architecture = architecture.pruned() if prune else architecture
        self.in_channels, self.base_channels = in_channels, base_channels
        self.norm_cfg, self.with_cp = norm_cfg, with_cp
        self.outputs = self.architecture.outputs
        self.out_channels = tuple(base_channels * 2**node.scale for node in self.outputs)
        self.strides = tuple(4 * 2**node.scale for node in self.outputs)

        self.stem: nn.Module = Stem(in_channels, base_channels, norm_cfg)
        self.nodes = nn.ModuleDict(
            {
                node_key(spec.node): nn.ModuleDict(
                    {
                        node_key(source): self.build_cell(
                            spec,
                            base_channels * 2**source.scale,
                            base_channels * 2**spec.node.scale,
                            norm_cfg,
                        )
                        for source in spec.inputs
                    }
                )
                for spec in self.architecture.nodes
                if spec.inputs
            }
        )
        self._steps = self._schedule()
        self.register_load_state_dict_pre_hook(_refuse_other_architecture)

    def build_cell(
        self, spec: NodeSpec, in_channels: int, out_channels: int, norm_cfg: dict
    ) -> nn.Module:
        """Build the cell of an edge into a node; subclasses implement it."""
        raise NotImplementedError

    def init_weights(self) -> None:
        """Initialise cells kaiming-normal and the stem as torch does, then apply ``init_cfg``."""
        for module in self.nodes.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
        super().init_weights()

    def run(
        self, x: Tensor, weights: Mapping[Node, Sequence[Any]] | None = None
    ) -> tuple[Tensor, ...]:
        """Map images (N, in_channels, H, W) to the live nodes of the last layer, finest first.

        Args:
            x: Images, (N, in_channels, H, W).
            weights: Second argument of the cells, by target node and input; None if cells take one
                argument.
        """
        require_bands(self, x)
        # Keys: (node, None) for the map of a node, (node, scale) for this map resized to a scale.
        tensors: dict[tuple[Node, int | None], Tensor] = {}
        tensors[STEM, None] = self.stem(x.contiguous(memory_format=torch.channels_last))
        for node, inputs, release in self._steps:
            size = size_at(x.shape[2:], 4 * 2**node.scale)
            terms = []
            for i, source in enumerate(inputs):
                cell = self.cell(source, node)
                arguments = () if weights is None else (weights[node][i],)
                if self.with_cp and self.training:
                    # Resizing is recomputed as well, so that only the maps of the nodes are stored.
                    read = partial(self._read, cell, size)
                    terms.append(recompute(read, tensors[source, None], *arguments, norms_of=cell))
                    continue
                key: tuple[Node, int | None] = (source, node.scale)
                if key not in tensors:
                    tensors[key] = self.resized_input(tensors[source, None], size)
                terms.append(cell(tensors[key], *arguments))
            tensors[node, None] = sum_tensors(terms)
            for key in release:
                tensors.pop(key, None)
        return tuple(tensors[node, None] for node in self.outputs)

    def cell(self, source: Node, target: Node) -> Any:
        """Return the cell of an edge."""
        cells: Any = self.nodes[node_key(target)]
        return cells[node_key(source)]

    def resized_input(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the map of a node, resized for cells of another scale."""
        if x.shape[2:] == size:
            return x
        return F.interpolate(x, size, mode='bilinear', align_corners=True)

    def _read(self, cell: nn.Module, size: tuple[int, int], x: Tensor, *arguments: Any) -> Tensor:
        return cell(self.resized_input(x, size), *arguments)

    def _schedule(self) -> tuple[_ScheduledNode, ...]:
        """Return the reachable nodes in order, with the tensors that each uses last."""
        fed = self.architecture.fed
        live = [
            (node, tuple(source for source in inputs if source in fed))
            for node, inputs, _ in self.architecture.nodes
            if node in fed
        ]
        last_use: dict[tuple[Node, int | None], Node] = {}
        for node, inputs in live:
            last_use[node, None] = node
            for source in inputs:
                last_use[source, None] = last_use[source, node.scale] = node
        for node in self.outputs:
            del last_use[node, None]
        return tuple(
            _ScheduledNode(
                node, inputs, tuple(key for key, last in last_use.items() if last == node)
            )
            for node, inputs in live
        )


def _refuse_other_architecture(lattice: Lattice, state_dict: dict, prefix: str, *_) -> None:
    """Raise for weights of another architecture, which mmengine would load partially.

    Weights of pruned cells are ignored.
    """
    start = f'{prefix}nodes.'
    present = {_edge(key) for key in _below(state_dict, start)}
    if not present:
        return
    built = {(node_key(target), node_key(source)) for source, target in lattice.architecture.edges}
    listed = {(node_key(target), node_key(source)) for source, target in lattice.listed.edges}
    foreign, missing = present - listed, built - present
    if foreign or missing:
        raise ArchitectureError(
            f"the weights are of another architecture than '{lattice.listed.name}': "
            f'{len(foreign)} of their {len(present)} edges are not in it{_some(foreign)}, '
            f'{len(missing)} of its {len(built)} edges have no weights{_some(missing)}'
        )
    for key in _below(state_dict, start):
        if _edge(key) not in built:
            del state_dict[start + key]


def _below(state_dict: dict, prefix: str) -> list[str]:
    return [key.removeprefix(prefix) for key in state_dict if key.startswith(prefix)]


def _edge(key: str) -> tuple[str, str]:
    """Return the names of target and source from the key of a cell's tensor."""
    target, _, rest = key.partition('.')
    return target, rest.partition('.')[0]


def _some(edges: set[tuple[str, str]]) -> str:
    names = [f'{source} -> {target}' for target, source in sorted(edges)]
    return f' ({", ".join(names[:3])}{", ..." if len(names) > 3 else ""})' if names else ''


def node_key(node: Node) -> str:
    """Return the name of a node in modules and state dicts."""
    return 'stem' if node == STEM else f'l{node.layer}_s{node.scale}'
