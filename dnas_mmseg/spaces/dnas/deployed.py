"""The fastest form of a DNAS network: the same computation in fewer and larger steps.

All convolutions of one kind that read a node's map at a scale, of whatever target nodes, are merged
into one convolution. It runs as soon as the map is complete, and each part of its output is added
to the node it is for. Average pooling is linear, so a node pools the sum of what its edges would
pool. Of a coarser map, 1x1 convolutions come before the upsampling; 3x3 convolutions come between
the upsampling of the columns and that of the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dnas_mmseg.spaces.scales import STEM, Node

from .lattice import Lattice, node_key

_POINTWISE = ('conv1x1', 'max_pool_3x3', 'avg_pool_3x3')
_SPATIAL = ('conv3x3', 'conv3x3_dil3', 'conv3x3_dil12')
_LANES = 16
"""Number of channels that CPUs compute together: 48 of 3x3 take less time than 40."""


class _Part(NamedTuple):
    """Channels of a merged convolution, with the node and the operation that they are for."""

    node: Node
    operation: str
    channels: slice


class _MergedConv(nn.Module):
    """Convolutions of one kernel that read the same map.

    Args:
        convolutions: Convolutions with biases, as folding normalisations leaves them.
        owners: Pairs (node, operation), one for each convolution.
    """

    def __init__(
        self, convolutions: Sequence[nn.Conv2d], owners: Sequence[tuple[Node, str]]
    ) -> None:
        super().__init__()
        first = convolutions[0]
        assert not isinstance(first.padding, str)
        self.padding, self.dilation = first.padding, first.dilation
        self._keep(
            torch.cat([conv.weight.detach() for conv in convolutions]),
            torch.cat([conv.get_parameter('bias').detach() for conv in convolutions]),
        )
        self.parts: list[_Part] = []
        begin = 0
        for conv, (node, operation) in zip(convolutions, owners, strict=True):
            self.parts.append(_Part(node, operation, slice(begin, begin + conv.out_channels)))
            begin += conv.out_channels

    def _keep(self, weight: Tensor, bias: Tensor) -> None:
        spare = -len(bias) % _LANES if weight.shape[2:] != (1, 1) else 0
        weight = F.pad(weight, (0, 0, 0, 0, 0, 0, 0, spare))
        self.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last))
        self.bias = nn.Parameter(F.pad(bias, (0, spare)))

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """Resize (N, C, h, w) to ``size`` (H, W) and convolve, before any ReLU or pooling."""
        return F.conv2d(_resize(x, size), self.weight, self.bias, 1, self.padding, self.dilation)


class _PointwiseConvOfCoarser(_MergedConv):
    """1x1 convolutions of a coarser map at its own size; they commute with upsampling."""

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        return _resize(super().forward(x, x.shape[2:]), size)


class _SpatialConvOfCoarser(_MergedConv):
    """3x3 convolutions of a coarser map, whose rows are upsampled last.

    A 3x3 convolution is the sum of three 1x3 convolutions of neighbouring rows. These commute with
    the upsampling of rows, so they read half the pixels (a quarter from two scales away). Their
    upsampled outputs are shifted by rows and added, which is exact at the borders, too.
    """

    def _keep(self, weight: Tensor, bias: Tensor) -> None:
        self.count = len(bias)
        rows = weight.permute(2, 0, 1, 3).reshape(-1, weight.shape[1], 1, 3)
        self.weight = nn.Parameter(rows.contiguous(memory_format=torch.channels_last))
        self.bias = nn.Parameter(F.pad(bias, (self.count, self.count)))

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        columns = _resize(x, (x.shape[2], size[1]))
        padding, dilation = (0, self.padding[1]), (1, self.dilation[1])
        y = F.conv2d(columns, self.weight, self.bias, 1, padding, dilation)
        above, here, below = _resize(y, size).split(self.count, 1)
        reach = self.dilation[0]
        total = here.clone(memory_format=torch.channels_last)
        total[:, :, reach:].add_(above[:, :, :-reach])
        total[:, :, :-reach].add_(below[:, :, reach:])
        return total


_OF_COARSER = (_PointwiseConvOfCoarser, _SpatialConvOfCoarser)


def _resize(x: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(x.shape[2:]) == tuple(size):
        return x
    return F.interpolate(x, size, mode='bilinear', align_corners=True)


class _Reader(nn.Module):
    """All operations that read a node's map at one scale, convolutions merged by kind.

    Args:
        lattice: Network with normalisations folded into convolutions.
        source: Node whose map is read.
        targets: Target nodes of the operations, all of one scale.
    """

    def __init__(self, lattice: Lattice, source: Node, targets: Sequence[Node]) -> None:
        super().__init__()
        cells = {node: lattice.cell(source, node) for node in targets}
        present = [(node, name) for node, cell in cells.items() for name in cell]
        self.owners = [o for o in present if o[1] not in (*_POINTWISE, *_SPATIAL)]
        self.single = nn.ModuleList(cells[node][name] for node, name in self.owners)
        pointwise = spatial = _MergedConv
        if source.scale > targets[0].scale:
            spatial = _SpatialConvOfCoarser
            if not self.single:  # else the map is upsampled in any case
                pointwise = _PointwiseConvOfCoarser
        self.merged = nn.ModuleList()
        for kinds in (_POINTWISE, *((kind,) for kind in _SPATIAL)):
            owners = [(node, name) for kind in kinds for node, name in present if name == kind]
            if owners:
                convolutions = [cells[node][name][0] for node, name in owners]
                form = pointwise if kinds is _POINTWISE else spatial
                self.merged.append(form(convolutions, owners))


def max_pool(x: Tensor) -> Tensor:
    """Return the maximum of 3x3 windows at stride 1, without torch's indices."""
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
    """The computation of :class:`DNAS` in evaluation mode.

    Args:
        lattice: Network with normalisations folded into convolutions.
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
            readers: Any = self.readers[node_key(node)]
            for scale, reader in readers.items():
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
        """Apply a reader to a map, and add the results to the sums of their target nodes."""

        def add(totals: dict[Node, Tensor], node: Node, term: Tensor) -> None:
            if node in totals:
                totals[node].add_(term)
            else:
                # Copies a slice of a merged output; a whole one is taken over.
                totals[node] = term.contiguous(memory_format=torch.channels_last)

        full = x
        if not all(isinstance(c, _OF_COARSER) for c in reader.merged) or reader.single:
            full = _resize(x, size)
        convolution: Any
        for convolution in reader.merged:
            y = convolution(x if isinstance(convolution, _OF_COARSER) else full, size)
            for node, operation, channels in convolution.parts:
                term = y[:, channels]
                if operation == 'avg_pool_3x3':
                    add(pooled, node, term)
                elif operation == 'max_pool_3x3':
                    add(sums, node, max_pool(term))
                else:
                    add(sums, node, term.relu())
        for (node, _), operation in zip(reader.owners, reader.single, strict=True):
            add(sums, node, operation(full))
