"""Auto-DeepLab's searched networks as a backbone (Liu et al., CVPR 2019)."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from dnas_mmseg.architectures import Architecture, load_architecture
from dnas_mmseg.architectures.auto_deeplab import ONE_BEFORE, TWO_BEFORE, Block
from dnas_mmseg.errors import UserError

from ..operations import Operation, conv_norm

STEM_CHANNELS = (64, 64, 128)
_LOW_LEVEL = 2


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, corners on corners, as all resizing in this network is."""
    if x.shape[2:] == size:
        return x
    return F.interpolate(x, size, mode='bilinear', align_corners=True)


def reduced(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """The size behind a convolution of this stride."""
    return tuple(-(-side // stride) for side in size)


class SeparableConv(nn.Sequential):
    """Twice ReLU, depthwise, pointwise, normalisation; the first one has the stride."""

    def __init__(self, channels: int, kernel_size: int, stride: int, norm_cfg: dict) -> None:
        super().__init__(
            self._half(channels, kernel_size, stride, norm_cfg),
            self._half(channels, kernel_size, 1, norm_cfg),
        )

    @staticmethod
    def _half(channels: int, kernel_size: int, stride: int, norm_cfg: dict) -> Operation:
        depthwise = nn.Conv2d(
            channels, channels, kernel_size, stride, kernel_size // 2, groups=channels, bias=False
        )
        pointwise = conv_norm(channels, channels, 1, norm_cfg)
        return Operation(nn.ReLU(), depthwise, *pointwise, norm=3)


class AtrousConv(nn.Module):
    """ReLU, a full convolution at rate 2, normalisation; at stride 2 half the size, at rate 1."""

    def __init__(self, channels: int, kernel_size: int, stride: int, norm_cfg: dict) -> None:
        super().__init__()
        self.stride = stride
        rate = 2 if stride == 1 else 1
        layers = conv_norm(channels, channels, kernel_size, norm_cfg, dilation=rate)
        self.conv = Operation(*layers, norm=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(resize(F.relu(x), reduced(x.shape[2:], self.stride)))


def build_operation(name: str, channels: int, stride: int, norm_cfg: dict) -> nn.Module:
    """An operation of a branch, (N, channels, H, W) to the same channels at the stride."""
    kind, kernel_size = name.rstrip('35'), int(name[-1]) if name[-1].isdigit() else 1
    if kind == 'sep':
        return SeparableConv(channels, kernel_size, stride, norm_cfg)
    if kind == 'atrous':
        return AtrousConv(channels, kernel_size, stride, norm_cfg)
    if kind == 'avg':
        return nn.AvgPool2d(3, stride, 1, count_include_pad=False)
    if kind == 'max':
        return nn.MaxPool2d(3, stride, 1)
    return nn.Identity() if stride == 1 else nn.AvgPool2d(1, stride)


class AutoDeepLabCell(nn.Module):
    """The blocks of a layer.

    Args:
        blocks: The cell.
        before: Channels of the outputs of the two cells before, the earlier one first.
        channels: Of each block.
        stride: 2 where the layer is coarser than the one before; operations on the cells before
            have it.
        norm_cfg: Normalisation layer.
    """

    def __init__(
        self,
        blocks: tuple[Block, ...],
        before: tuple[int, int],
        channels: int,
        stride: int,
        norm_cfg: dict,
    ) -> None:
        super().__init__()
        self.blocks = blocks
        self.enter = nn.ModuleList(
            Operation(nn.ReLU(), *conv_norm(width, channels, 1, norm_cfg), norm=2)
            for width in before
        )
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

    def forward(self, two_before: Tensor, one_before: Tensor) -> Tensor:
        """Both inputs at the resolution that the operations start from, or another."""
        size = one_before.shape[2:]
        states = [self.enter[0](resize(two_before, size)), self.enter[1](one_before)]
        for block, (first, second) in zip(self.blocks, self.branches, strict=True):
            states.append(first(states[block[0].input]) + second(states[block[1].input]))
        return torch.cat(states[2:], 1)


@MODELS.register_module()
class AutoDeepLab(BaseModule):
    """A network of the Auto-DeepLab space.

    Layer l at scale s has ``filters * 2**s`` channels a block, all blocks concatenated, at stride
    ``4 * 2**s``; sizes are ``ceil(input / stride)``, so any input size works.

    Args:
        architecture: Published name, JSON path, document or value.
        filters: 20, 32 and 48 are the published S, M and L.
        in_channels: Bands of the input.
        norm_cfg: Normalisation layer.
        init_cfg: Initialisation on top of torch's.

    Attributes:
        out_channels: Of the outputs: the third cell (the low-level feature of the published
            decoder) and the last one.
        strides: Of the outputs.

    Raises:
        ArchitectureError: The architecture is of another space.
    """

    def __init__(
        self,
        architecture: str | os.PathLike | Mapping | Architecture = 'autodeeplab',
        filters: int = 20,
        in_channels: int = 4,
        norm_cfg: dict = dict(type='BN', eps=1e-3),  # noqa: B006
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        architecture = load_architecture(architecture)
        architecture.require('autodeeplab', 'cell', by='backbone AutoDeepLab')
        if filters < 1:
            raise UserError(f'filters = {filters}: at least 1 is needed')
        self.architecture, self.in_channels = architecture, in_channels
        first, second, third = STEM_CHANNELS
        self.stem = nn.ModuleList(
            nn.Sequential(*layers)
            for layers in (
                conv_norm(in_channels, first, 3, norm_cfg, stride=2),
                [nn.ReLU(), *conv_norm(first, second, 3, norm_cfg)],
                [nn.ReLU(), *conv_norm(second, third, 3, norm_cfg, stride=2)],
            )
        )
        widths, scales = [second, third], (0, *architecture.path)
        self.cells = nn.ModuleList()
        for before, scale in zip(scales, architecture.path, strict=False):
            channels, stride = filters * 2**scale, 2 if scale > before else 1
            before_two = (widths[-2], widths[-1])
            self.cells.append(
                AutoDeepLabCell(architecture.cell, before_two, channels, stride, norm_cfg)
            )
            widths.append(channels * len(architecture.cell))
        self._low_level = min(_LOW_LEVEL, architecture.layers - 1)
        layers = (self._low_level, architecture.layers - 1)
        self.out_channels = tuple(widths[2 + layer] for layer in layers)
        self.strides = tuple(4 * 2 ** architecture.path[layer] for layer in layers)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (N, in_channels, H, W) to the low-level and the last feature."""
        if x.shape[1] != self.in_channels:
            raise UserError(
                f'the image has {x.shape[1]} bands, but this AutoDeepLab was built for '
                f'in_channels={self.in_channels}; select bands by SelectBands or build it anew'
            )
        size = x.shape[2:]
        earlier = self.stem[1](self.stem[0](x))
        current = self.stem[2](earlier)
        path = self.architecture.path
        for layer, (cell, before, scale) in enumerate(
            zip(self.cells, (0, *path), path, strict=False)
        ):
            if scale < before:
                current = resize(current, reduced(size, 4 * 2**scale))
            earlier, current = current, cell(earlier, current)
            if layer == self._low_level:
                low_level = current
        return low_level, current
