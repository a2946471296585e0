"""A DNAS network as it runs fastest: the same numbers, in fewer and larger steps.

What reads a map does so at once. When a node is done, all convolutions of one kind that read it at
a scale, of whatever nodes, are one convolution, and each part of its output is added to the node it
is for. Average pooling is linear, so a node pools the sum of what its edges would pool. Where all
that reads a coarser map is 1x1, the convolution comes before the upsampling.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnas_mmseg.architectures.dnas import STEM, Node

from ..lattice import Lattice, node_key

_POINTWISE = ('conv1x1', 'max_pool_3x3', 'avg_pool_3x3')
_SPATIAL = ('conv3x3', 'conv3x3_dil3', 'conv3x3_dil12')
_LANES = 16
"""Channels that CPUs compute together: 48 of 3x3 take less time than 40."""


class _Part(NamedTuple):
    """Channels of a merged convolution: whose operation they are."""

    node: Node
    operation: str
    channels: slice


class _MergedConv(nn.Module):
    """Convolutions of one kernel that read the same map.

    Args:
        convolutions: With biases, as folding normalisations leaves them.
        owners: (node, operation) of each.
    """

    def __init__(
        self, convolutions: Sequence[nn.Conv2d], owners: Sequence[tuple[Node, str]]
    ) -> None:
        super().__init__()
        first = convolutions[0]
        self.padding, self.dilation = first.padding, first.dilation
        weight = torch.cat([conv.weight.detach() for conv in convolutions])
        bias = torch.cat([conv.bias.detach() for conv in convolutions])
        spare = -len(bias) % _LANES if first.kernel_size != (1, 1) else 0
        weight = F.pad(weight, (0, 0, 0, 0, 0, 0, 0, spare))
        self.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last))
        self.bias = nn.Parameter(F.pad(bias, (0, spare)))
        self.parts, begin = [], 0
        for conv, (node, operation) in zip(convolutions, owners, strict=True):
            self.parts.append(_Part(node, operation, slice(begin, begin + conv.out_channels)))
            begin += conv.out_channels

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, 1, self.padding, self.dilation)


class _Reader(nn.Module):
    """All that reads a node's map at a scale.

    Args:
        lattice: With normalisations folded.
        source: The node.
        targets: Nodes of one scale that read it.
    """

    def __init__(self, lattice: Lattice, source: Node, targets: Sequence[Node]) -> None:
        super().__init__()
        cells = {node: lattice.nodes[node_key(node)][node_key(source)] for node in targets}
        present = [(node, name) for node, cell in cells.items() for name in cell]
        self.merged = nn.ModuleList()
        for kinds in (_POINTWISE, *((kind,) for kind in _SPATIAL)):
            owners = [(node, name) for kind in kinds for node, name in present if name == kind]
            if owners:
                convolutions = [cells[node][name][0] for node, name in owners]
                self.merged.append(_MergedConv(convolutions, owners))
        single = [o for o in present if o[1] not in (*_POINTWISE, *_SPATIAL)]
        self.owners = single
        self.single = nn.ModuleList(cells[node][name] for node, name in single)
        self.upsample_last = source.scale > targets[0].scale and all(
            name in _POINTWISE for _, name in present
        )


def max_pool(x: Tensor) -> Tensor:
    """Of 3x3 windows at stride 1, without the indices that torch's own computes beside it."""
    if torch.compiler.is_compiling():  # an export has an operator for it
        return F.max_pool2d(x, 3, 1, 1)
    rows = x.clone(memory_format=torch.channels_last)
    torch.maximum(rows[:, :, 1:], x[:, :, :-1], out=rows[:, :, 1:])
    torch.maximum(rows[:, :, :-1], x[:, :, 1:], out=rows[:, :, :-1])
    both = rows.clone(memory_format=torch.channels_last)
    torch.maximum(both[..., 1:], rows[..., :-1], out=both[..., 1:])
    torch.maximum(both[..., :-1], rows[..., 1:], out=both[..., :-1])
    return both


class DeployedDNAS(nn.Module):
    """What :class:`DNAS` computes in evaluation mode.

    Args:
        lattice: The network, with normalisations folded into convolutions.
    """

    def __init__(self, lattice: Lattice) -> None:
        super().__init__()
        architecture = lattice.architecture.pruned()
        self.outputs, self.stem = lattice.outputs, lattice.stem
        self.order = (STEM, *(spec.node for spec in architecture.nodes))
        self.readers = nn.ModuleDict()
        for source in self.order:
            readers: dict[str, _Reader] = {}
            for scale in range(4):
                targets = [
                    spec.node
                    for spec in architecture.nodes
                    if source in spec.inputs and spec.node.scale == scale
                ]
                if targets:
                    readers[str(scale)] = _Reader(lattice, source, targets)
            self.readers[node_key(source)] = nn.ModuleDict(readers)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map images (N, in_channels, H, W) to the live nodes of the last layer, finest first."""
        height, width = x.shape[2:]
        sums: dict[Node, Tensor] = {}
        pooled: dict[Node, Tensor] = {}
        for node in self.order:
            if node == STEM:
                current = self.stem(x.contiguous(memory_format=torch.channels_last))
            else:
                current = sums.pop(node) if node in sums else 0
                if node in pooled:
                    mean = F.avg_pool2d(pooled.pop(node), 3, 1, 1, count_include_pad=False)
                    current = mean.add_(current)
            for scale, reader in self.readers[node_key(node)].items():
                stride = 4 * 2 ** int(scale)
                self._read(
                    reader, current, (-(-height // stride), -(-width // stride)), sums, pooled
                )
            if node in self.outputs:
                sums[node] = current
        return tuple(sums[node] for node in self.outputs)

    @staticmethod
    def _read(
        reader: _Reader,
        x: Tensor,
        size: tuple[int, int],
        sums: dict[Node, Tensor],
        pooled: dict[Node, Tensor],
    ) -> None:
        """Add what is read of a map to the sums of the nodes that it is for."""

        def resize(y: Tensor) -> Tensor:
            if y.shape[2:] == size:
                return y
            return F.interpolate(y, size, mode='bilinear', align_corners=True)

        def add(totals: dict[Node, Tensor], node: Node, term: Tensor) -> None:
            if node in totals:
                totals[node].add_(term)
            else:
                # No copy of a tensor of its own; nothing else reads these channels.
                totals[node] = term.contiguous(memory_format=torch.channels_last)

        if not reader.upsample_last:
            x = resize(x)
        for convolution in reader.merged:
            y = convolution(x)
            if reader.upsample_last:
                y = resize(y)
            for node, operation, channels in convolution.parts:
                term = y[:, channels]
                if operation == 'avg_pool_3x3':
                    add(pooled, node, term)
                elif operation == 'max_pool_3x3':
                    add(sums, node, max_pool(term))
                else:
                    add(sums, node, term.relu())
        for (node, _), operation in zip(reader.owners, reader.single, strict=True):
            add(sums, node, operation(x))
