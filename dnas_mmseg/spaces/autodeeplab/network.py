"""Searched networks of the Auto-DeepLab space as a backbone (Liu et al., CVPR 2019)."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from dnas_mmseg.errors import UserError
from dnas_mmseg.models.layers.input_bands import require_bands
from dnas_mmseg.models.layers.operation import Operation, conv_norm
from dnas_mmseg.spaces.architecture import Architecture
from dnas_mmseg.spaces.registry import load_for
from dnas_mmseg.spaces.scales import size_at

from .architecture import ONE_BEFORE, TWO_BEFORE, AutoDeepLabArchitecture, Block

STEM_CHANNELS = (64, 64, 128)
"""Numbers of channels of the stem's convolutions, as published."""


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """Resize bilinearly with aligned corners."""
    if x.shape[2:] == size:
        return x
    return F.interpolate(x, size, mode='bilinear', align_corners=True)


class AutoDeepLabStem(nn.ModuleList):
    """Three 3x3 convolutions with ReLU between them; the first and the last have stride 2."""

    def __init__(self, in_channels: int, channels: Sequence[int], norm_cfg: dict) -> None:
        first, second, third = channels
        super().__init__(
            nn.Sequential(*layers)
            for layers in (
                conv_norm(in_channels, first, 3, norm_cfg, stride=2),
                [nn.ReLU(), *conv_norm(first, second, 3, norm_cfg)],
                [nn.ReLU(), *conv_norm(second, third, 3, norm_cfg, stride=2)],
            )
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (N, in_channels, H, W) to the first cell's inputs, at strides 2 and 4."""
        half = self[1](self[0](x))
        return half, self[2](half)


class SeparableConv(nn.Sequential):
    """Two normalised separable convolutions with a ReLU between them; the first is strided.

    Args:
        channels: Number of channels of the input.
        kernel_size: Size of the depthwise convolutions' kernels.
        stride: Stride of the first depthwise convolution.
        norm_cfg: Config of the normalisation layers.
        copies: Number of copies of this operation on the input, with separate weights.
    """

    def __init__(
        self, channels: int, kernel_size: int, stride: int, norm_cfg: dict, copies: int = 1
    ) -> None:
        width = copies * channels

        def half(stride: int) -> list[nn.Module]:
            padding = kernel_size // 2
            return [
                nn.Conv2d(width, width, kernel_size, stride, padding, groups=width, bias=False),
                *conv_norm(width, width, 1, norm_cfg, groups=copies),
            ]

        super().__init__(
            Operation(*half(stride), nn.ReLU(inplace=True), norm=2), Operation(*half(1), norm=2)
        )
        self.copies = copies

    def forward(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """Map a rectified (N, channels, H, W) to (N, copies * channels, H, W) at the stride.

        Args:
            x: Rectified input, (N, channels, H, W).
            weight: Factor of the output, a scalar or one value for each channel, >= 0.
        """
        return self[1](self[0](x.repeat(1, self.copies, 1, 1) if self.copies > 1 else x), weight)


class AtrousConv(Operation):
    """Convolution at rate 2 and normalisation; at stride 2, rate 1 on the halved input.

    Args:
        channels, kernel_size, stride, norm_cfg, copies: Arguments of :class:`SeparableConv`.
    """

    def __init__(
        self, channels: int, kernel_size: int, stride: int, norm_cfg: dict, copies: int = 1
    ) -> None:
        rate = 2 if stride == 1 else 1
        super().__init__(
            *conv_norm(channels, copies * channels, kernel_size, norm_cfg, dilation=rate), norm=1
        )
        self.stride = stride

    def forward(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """Map a rectified input as :class:`SeparableConv` does."""
        return super().forward(resize(x, size_at(x.shape[2:], self.stride)), weight)


CONVOLUTIONS: dict[str, Callable[..., nn.Module]] = {
    'sep3': partial(SeparableConv, kernel_size=3),
    'sep5': partial(SeparableConv, kernel_size=5),
    'atrous3': partial(AtrousConv, kernel_size=3),
    'atrous5': partial(AtrousConv, kernel_size=5),
}
"""Operations without their leading ReLU, which the cell computes once per input."""

POOLS_AND_SKIP: dict[str, Callable[[int], nn.Module]] = {
    'avg3': lambda stride: nn.AvgPool2d(3, stride, 1, count_include_pad=False),
    'max3': lambda stride: nn.MaxPool2d(3, stride, 1),
    'skip': lambda stride: nn.Identity() if stride == 1 else nn.AvgPool2d(1, stride),
}
"""Operations without parameters, built from the stride."""


def build_operation(name: str, channels: int, stride: int, norm_cfg: dict) -> nn.Module:
    """Build an operation of a branch, which preserves the number of channels."""
    if name in POOLS_AND_SKIP:
        return POOLS_AND_SKIP[name](stride)
    return CONVOLUTIONS[name](channels, stride=stride, norm_cfg=norm_cfg)


class CellEntry(nn.ModuleList):
    """Entry of a cell for the outputs of the two previous cells: resizing, ReLU, 1x1, norm.

    Args:
        before: Numbers of channels of these outputs, the earlier first.
        channels: Number of channels of the cell's blocks.
        norm_cfg: Config of the normalisation layers.
    """

    def __init__(self, before: Sequence[int], channels: int, norm_cfg: dict) -> None:
        super().__init__(
            Operation(nn.ReLU(), *conv_norm(width, channels, 1, norm_cfg), norm=2)
            for width in before
        )

    def forward(
        self, two_before: Tensor, one_before: Tensor, size: tuple[int, int]
    ) -> list[Tensor]:
        """Map both outputs to the inputs of the branches, (N, channels, *size)."""
        maps = (two_before, one_before)
        return [enter(resize(x, size)) for enter, x in zip(self, maps, strict=True)]


class AutoDeepLabCell(nn.Module):
    """Cell of a layer.

    Args:
        blocks: Blocks of the cell.
        before: Numbers of channels of the outputs of the two previous cells, the earlier first.
        channels: Number of channels of each block.
        stride: Stride of the operations on previous cells: 2 if the layer is coarser than the
            previous one, else 1.
        norm_cfg: Config of the normalisation layers.

    Attributes:
        drop: Probability that a branch is dropped from a sample in training, a tensor: compiled
            steps would be recompiled for every other number. None if it is always 0.
    """

    drop: Tensor | None

    def __init__(
        self,
        blocks: tuple[Block, ...],
        before: Sequence[int],
        channels: int,
        stride: int,
        norm_cfg: dict,
    ) -> None:
        super().__init__()
        self.blocks = blocks
        self.register_buffer('drop', None, persistent=False)
        self.enter = CellEntry(before, channels, norm_cfg)
        self.branches = nn.ModuleList(
            nn.ModuleList(
                build_operation(
                    operation,
                    channels,
                    stride if source in (TWO_BEFORE, ONE_BEFORE) else 1,
                    norm_cfg,
                )
                for source, operation in block
            )
            for block in blocks
        )

    def forward(self, two_before: Tensor, one_before: Tensor, size: tuple[int, int]) -> Tensor:
        """Map the outputs of the two previous cells to the concatenated blocks.

        Args:
            two_before, one_before: Outputs of the two previous cells, of any size.
            size: Size (height, width) of the inputs of the branches.
        """
        states = self.enter(two_before, one_before, size)
        rectified: dict[int, Tensor] = {}
        for block, branches in zip(self.blocks, self.branches, strict=True):
            terms = []
            for (source, name), branch in zip(block, branches.children(), strict=True):
                if name in CONVOLUTIONS:
                    if source not in rectified:
                        rectified[source] = states[source].relu()
                    term = branch(rectified[source])
                else:
                    term = branch(states[source])
                if self.training and self.drop is not None:
                    term = drop_branch(term, self.drop)
                terms.append(term)
            states.append(terms[0] + terms[1])
        return torch.cat(states[2:], 1)


def drop_branch(x: Tensor, rate: Tensor) -> Tensor:
    """Set samples to 0 with a probability, and scale the others to keep the mean.

    As mmcv's ``drop_path``, which takes the probability as a number.

    Args:
        x: Output of a branch, (N, C, H, W).
        rate: Probability below 1, ().
    """
    keep = 1 - rate
    kept = (keep + torch.rand(len(x), 1, 1, 1, dtype=x.dtype, device=x.device)).floor()
    return x / keep * kept


@MODELS.register_module()
class AutoDeepLab(BaseModule):
    """A searched network of the Auto-DeepLab space (Liu et al., CVPR 2019).

    Layers at scale s have ``filters * 2**s`` channels per block, and their blocks are concatenated.
    Sizes are ``ceil(input / stride)`` at stride ``4 * 2**s``, so any input size works.

    Args:
        architecture: Published name, JSON path, document or value of the architecture.
        filters: Number of channels of a block at stride 4; 20, 32, 48 in the published S, M, L.
        in_channels: Number of bands of the input.
        stem_channels: Numbers of channels of the stem's three convolutions.
        drop_path: Probability that a branch of the last layer is dropped from a sample in training;
            proportionally less in earlier layers. ``ScheduledDropPathHook`` increases it from 0
            over the training run.
        norm_cfg: Config of the normalisation layers.
        init_cfg: Config of an initialisation after torch's.

    Attributes:
        out_channels: Numbers of channels of the outputs: the third cell (the low-level feature of
            the published decoder) and the last one.
        strides: Strides of the outputs.

    Raises:
        ArchitectureError: The architecture is of another space.

    Example:
        >>> import torch
        >>> backbone = AutoDeepLab(filters=4)
        >>> [tuple(x.shape) for x in backbone(torch.zeros(1, 4, 64, 64))]
        [(1, 20, 16, 16), (1, 40, 8, 8)]
    """

    def __init__(
        self,
        architecture: str | os.PathLike | Mapping | Architecture = 'autodeeplab',
        filters: int = 20,
        in_channels: int = 4,
        stem_channels: Sequence[int] = STEM_CHANNELS,
        drop_path: float = 0.0,
        norm_cfg: dict = dict(type='BN', eps=1e-3),  # noqa: B006
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        architecture = load_for(
            'backbone AutoDeepLab', architecture, AutoDeepLabArchitecture, 'cell'
        )
        if filters < 1:
            raise UserError(f'filters = {filters}: at least 1 is required')
        if not 0 <= drop_path < 1:
            raise UserError(f'drop_path = {drop_path}: a probability below 1 is required')
        self.architecture, self.in_channels = architecture, in_channels
        self.drop_path = drop_path
        self.stem = AutoDeepLabStem(in_channels, stem_channels, norm_cfg)
        widths, scales = list(stem_channels[1:]), (0, *architecture.path)
        self.cells = nn.ModuleList()
        for before, scale in itertools.pairwise(scales):
            channels, stride = filters * 2**scale, 2 if scale > before else 1
            self.cells.append(
                AutoDeepLabCell(architecture.cell, widths[-2:], channels, stride, norm_cfg)
            )
            widths.append(channels * len(architecture.cell))
        layers = (architecture.low_level, architecture.layers - 1)
        self.out_channels = tuple(widths[2 + layer] for layer in layers)
        self.strides = tuple(4 * 2 ** architecture.path[layer] for layer in layers)
        if drop_path:
            for cell in self.cells:
                cell.register_buffer('drop', torch.zeros(()), persistent=False)
        self.set_drop_path(1.0)

    def set_drop_path(self, progress: float) -> None:
        """Set the drop rates of the cells at a progress of the training run, 0 to 1."""
        cell: Any
        for layer, cell in enumerate(self.cells, 1):
            if cell.drop is not None:
                cell.drop.fill_(self.drop_path * progress * layer / len(self.cells))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (N, in_channels, H, W) to the low-level and the last feature."""
        require_bands(self, x)
        size = x.shape[2:]
        earlier, current = self.stem(x)
        scales = itertools.pairwise((0, *self.architecture.path))
        for layer, (cell, (before, scale)) in enumerate(zip(self.cells, scales, strict=True)):
            start = size_at(size, 4 * 2 ** min(before, scale))
            earlier, current = current, cell(earlier, current, start)
            if layer == self.architecture.low_level:
                low_level = current
        return low_level, current
