"""The searched DNAS network as a backbone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from dnas_mmseg.architectures import Architecture, ArchitectureError, load_architecture
from dnas_mmseg.architectures.dnas import STEM, Node
from dnas_mmseg.errors import UserError

from ..operations import OPERATIONS, conv_norm
from ..recompute import recompute


class Stem(nn.Sequential):
    """Three 3x3 convolutions to stride 4: s2 to half the channels, s1, s2 to all of them."""

    def __init__(self, in_channels: int, channels: int, norm_cfg: dict) -> None:
        def layer(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
            layers = conv_norm(in_channels, out_channels, 3, norm_cfg, stride=stride, bias=True)
            return nn.Sequential(*layers, nn.ReLU(inplace=True))

        half = channels // 2
        super().__init__(
            layer(in_channels, half, 2), layer(half, half, 1), layer(half, channels, 2)
        )


class Cell(nn.ModuleDict):
    """What an edge does to its input, already at the target's size: the sum of its operations."""

    def __init__(
        self, operations: tuple[str, ...], in_channels: int, out_channels: int, norm_cfg: dict
    ) -> None:
        super().__init__(
            {name: OPERATIONS[name](in_channels, out_channels, norm_cfg) for name in operations}
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H, W)."""
        return sum_tensors(operation(x) for operation in self.values())


class _Step(NamedTuple):
    """Executing one node: its live inputs, and the tensors nobody needs afterwards."""

    node: Node
    inputs: tuple[Node, ...]
    release: tuple[tuple[Node, int], ...]


@MODELS.register_module()
class DNAS(BaseModule):
    """A searched network of the DNAS space (Remote Sensing 2022, 14(16), 3864).

    Node (l, s) has ``base_channels * 2**s`` channels at stride ``4 * 2**s``; its size is
    ``ceil(input / stride)``, so any input size works. Each edge's input is resized bilinearly to
    its target; this is done once for each (source, target scale), however many cells read it.

    Args:
        architecture: Published name, JSON path, document or value of level ``'cell'``.
        in_channels: Bands of the input.
        base_channels: Channels at stride 4; an even number. The paper's networks have 40.
        prune: Leave out what cannot influence the output. With False everything the architecture
            lists is built, as the authors' checkpoints have it; the output is the same.
        norm_cfg: Normalisation layer.
        with_cp: Recompute the cells' activations in backward to save memory.
        init_cfg: Initialisation on top of the paper's: kaiming-normal cells.

    Attributes:
        listed: The architecture as given.
        architecture: What is built, after pruning.
        out_channels: Channels of the outputs, finest first.
        strides: Strides of the outputs, finest first.

    Raises:
        ArchitectureError: The architecture is no complete DNAS network.
    """

    def __init__(
        self,
        architecture: str | os.PathLike | Mapping | Architecture,
        in_channels: int = 4,
        base_channels: int = 40,
        prune: bool = True,
        norm_cfg: dict = dict(type='BN'),  # noqa: B006
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        architecture = load_architecture(architecture)
        architecture.require('dnas', 'cell', by='backbone DNAS')
        if base_channels < 2 or base_channels % 2:
            raise UserError(f'base_channels = {base_channels}: an even number is needed')
        self.listed = architecture
        self.architecture = architecture.pruned() if prune else architecture
        self.in_channels = in_channels
        self.with_cp = with_cp
        self.outputs = self.architecture.outputs
        self.out_channels = tuple(base_channels * 2**node.scale for node in self.outputs)
        self.strides = tuple(4 * 2**node.scale for node in self.outputs)

        self.stem = Stem(in_channels, base_channels, norm_cfg)
        self.nodes = nn.ModuleDict(
            {
                _key(node): nn.ModuleDict(
                    {
                        _key(source): Cell(
                            operations,
                            base_channels * 2**source.scale,
                            base_channels * 2**node.scale,
                            norm_cfg,
                        )
                        for source in inputs
                    }
                )
                for node, inputs, operations in self.architecture.nodes
                if inputs
            }
        )
        self._steps = self._schedule()
        self.register_load_state_dict_pre_hook(_refuse_other_architecture)

    def init_weights(self) -> None:
        """Cells kaiming-normal, the stem as torch does; then what ``init_cfg`` says."""
        for module in self.nodes.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
        super().init_weights()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map images (N, in_channels, H, W) to the live nodes of the last layer, finest first.

        Returns:
            One tensor (N, out_channels[i], ceil(H / strides[i]), ceil(W / strides[i])) a node.
        """
        if x.shape[1] != self.in_channels:
            raise UserError(
                f'the image has {x.shape[1]} bands, but this DNAS was built for '
                f'in_channels={self.in_channels}; select bands by SelectBands or build it anew'
            )
        height, width = x.shape[2:]
        # At its own scale a node's tensor stands under (node, scale); resized copies beside it.
        tensors = {(STEM, STEM.scale): self.stem(x)}
        for node, inputs, release in self._steps:
            stride = 4 * 2**node.scale
            size = (-(-height // stride), -(-width // stride))
            cells = self.nodes[_key(node)]
            terms = []
            for source in inputs:
                key = (source, node.scale)
                if key not in tensors:
                    tensors[key] = F.interpolate(
                        tensors[source, source.scale], size, mode='bilinear', align_corners=True
                    )
                cell = cells[_key(source)]
                if self.with_cp and self.training:
                    terms.append(recompute(cell, tensors[key]))
                else:
                    terms.append(cell(tensors[key]))
            tensors[node, node.scale] = sum_tensors(terms)
            for key in release:
                del tensors[key]
        return tuple(tensors[node, node.scale] for node in self.outputs)

    def _schedule(self) -> tuple[_Step, ...]:
        """Nodes that receive data, in order, with the last use of every tensor."""
        fed = self.architecture.fed
        live = [
            (node, tuple(source for source in inputs if source in fed))
            for node, inputs, _ in self.architecture.nodes
            if node in fed
        ]
        last_use: dict[tuple[Node, int], Node] = {}
        for node, inputs in live:
            last_use.setdefault((node, node.scale), node)
            for source in inputs:
                last_use[source, source.scale] = last_use[source, node.scale] = node
        kept = {(node, node.scale) for node in self.outputs}
        return tuple(
            _Step(
                node,
                inputs,
                tuple(key for key, last in last_use.items() if last == node and key not in kept),
            )
            for node, inputs in live
        )


def sum_tensors(terms) -> Tensor:
    """The sum of one or more tensors, from the first to the last."""
    terms = iter(terms)
    total = next(terms)
    for term in terms:
        total = total + term
    return total


def _refuse_other_architecture(backbone: DNAS, state_dict: dict, prefix: str, *_) -> None:
    """Refuse weights of another architecture, which mmengine would load as far as names agree.

    Weights of cells that are pruned here are passed over.
    """
    start = f'{prefix}nodes.'
    given = {tuple(key.split('.')[:2]) for key in _below(state_dict, start)}
    if not given:
        return
    built = {(_key(target), _key(source)) for source, target in backbone.architecture.edges}
    listed = {(_key(target), _key(source)) for source, target in backbone.listed.edges}
    foreign, missing = given - listed, built - given
    if foreign or missing:
        raise ArchitectureError(
            f"these weights are of another architecture than '{backbone.listed.name}': "
            f'{len(foreign)} of their {len(given)} edges are not in it{_some(foreign)}, '
            f'{len(missing)} of its {len(built)} edges have no weights{_some(missing)}'
        )
    for key in _below(state_dict, start):
        if tuple(key.split('.')[:2]) not in built:
            del state_dict[start + key]


def _below(state_dict: dict, prefix: str) -> list[str]:
    return [key.removeprefix(prefix) for key in state_dict if key.startswith(prefix)]


def _some(edges: set[tuple[str, str]]) -> str:
    names = [f'{source} -> {target}' for target, source in sorted(edges)]
    return f' ({", ".join(names[:3])}{", ..." if len(names) > 3 else ""})' if names else ''


def _key(node: Node) -> str:
    """A node's name in a state dict."""
    return 'stem' if node == STEM else f'l{node.layer}_s{node.scale}'
