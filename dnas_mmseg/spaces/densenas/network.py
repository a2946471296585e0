"""Searched networks of the DenseNAS space as a backbone (Fang et al., CVPR 2020)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from dnas_mmseg.errors import UserError
from dnas_mmseg.models.layers.input_bands import require_bands
from dnas_mmseg.models.layers.operation import Operation, conv_norm
from dnas_mmseg.spaces.architecture import Architecture
from dnas_mmseg.spaces.registry import load_for

from .architecture import BASIC, SKIP, DenseNASArchitecture, kernel_and_expansion


class InvertedBottleneck(nn.Module):
    """1x1 expansion, depthwise convolution, 1x1 projection; residual if shapes agree.

    Args:
        in_channels, out_channels: Numbers of channels of the block's input and output.
        operation: Name of the operation; ``k5t6`` has kernel size 5 and 6-fold expansion, ``t1``
            has no expansion.
        stride: Stride of the depthwise convolution.
        dilation: Dilation of the depthwise convolution.
        norm_cfg: Config of the normalisation layers.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        operation: str,
        stride: int,
        dilation: int,
        norm_cfg: dict,
    ) -> None:
        super().__init__()
        kernel_size, expansion = kernel_and_expansion(operation)
        width = expansion * in_channels
        layers = []
        if expansion > 1:
            layers.append(Operation(*conv_norm(in_channels, width, 1, norm_cfg), _relu(), norm=1))
        padding = dilation * (kernel_size // 2)
        depthwise = nn.Conv2d(
            width, width, kernel_size, stride, padding, dilation, groups=width, bias=False
        )
        _, norm = conv_norm(1, width, 1, norm_cfg)
        layers.append(Operation(depthwise, norm, _relu(), norm=1))
        layers.append(Operation(*conv_norm(width, out_channels, 1, norm_cfg), norm=1))
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        out = self.layers(x)
        return x + out if self.residual else out


class BasicBlock(nn.Module):
    """Residual block of two 3x3 convolutions, with a 1x1 shortcut if shapes differ.

    Args:
        in_channels, out_channels: Numbers of channels of the block's input and output.
        stride: Stride of the first convolution.
        dilation: Dilation of both convolutions.
        norm_cfg: Config of the normalisation layers.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, dilation: int, norm_cfg: dict
    ) -> None:
        super().__init__()
        first = conv_norm(in_channels, out_channels, 3, norm_cfg, stride=stride, dilation=dilation)
        second = conv_norm(out_channels, out_channels, 3, norm_cfg, dilation=dilation)
        self.layers = nn.Sequential(
            Operation(*first, nn.ReLU(inplace=True), norm=1), Operation(*second, norm=1)
        )
        self.fit = None
        if stride != 1 or in_channels != out_channels:
            fit = conv_norm(in_channels, out_channels, 1, norm_cfg, stride=stride)
            self.fit = Operation(*fit, norm=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.layers(x) + (x if self.fit is None else self.fit(x)))


def build_layer(
    operation: str,
    in_channels: int,
    out_channels: int,
    stride: int,
    dilation: int,
    norm_cfg: dict,
) -> nn.Module:
    """Build a layer of a block by the name of its operation."""
    if operation == SKIP:
        return nn.Identity()
    if operation == BASIC:
        return BasicBlock(in_channels, out_channels, stride, dilation, norm_cfg)
    return InvertedBottleneck(in_channels, out_channels, operation, stride, dilation, norm_cfg)


def build_stem(in_channels: int, channels: int, norm_cfg: dict) -> nn.Sequential:
    """Build the stem, a 3x3 convolution of stride 2."""
    return nn.Sequential(*conv_norm(in_channels, channels, 3, norm_cfg, stride=2), _relu())


@MODELS.register_module()
class DenseNAS(BaseModule):
    """A searched network of the DenseNAS space (Fang et al., CVPR 2020).

    Args:
        architecture: Published name (``densenas_a``, ``_b``, ``_c``), JSON path, document or value
            of the architecture.
        in_channels: Number of bands of the input.
        output_stride: Stride of the coarsest map, 8, 16 or 32; further strides become dilation.
        out_indices: Indices of the stages to return, at strides 2, 4, 8, 16, 32 (before dilation);
            a stage ends before the next block of stride 2.
        with_final: Whether to append the final 1x1 convolution of classifiers to the last stage.
        norm_cfg: Config of the normalisation layers.
        init_cfg: Config of an initialisation after torch's.

    Attributes:
        out_channels: Numbers of channels of the outputs, finest first.
        strides: Strides of the outputs, finest first.

    Raises:
        ArchitectureError: The architecture is of another space.
        UserError: The output stride, a stage or the final convolution does not exist.

    Example:
        >>> import torch
        >>> backbone = DenseNAS('densenas_a', in_channels=4)
        >>> [tuple(x.shape) for x in backbone(torch.zeros(1, 4, 64, 64))]
        [(1, 24, 16, 16), (1, 48, 8, 8), (1, 128, 4, 4), (1, 384, 2, 2)]
    """

    def __init__(
        self,
        architecture: str | os.PathLike | Mapping | Architecture,
        in_channels: int = 4,
        output_stride: int = 32,
        out_indices: Sequence[int] = (1, 2, 3, 4),
        with_final: bool = False,
        norm_cfg: dict = dict(type='BN'),  # noqa: B006
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        architecture = load_for('backbone DenseNAS', architecture, DenseNASArchitecture, 'cell')
        if output_stride not in (8, 16, 32):
            raise UserError(f'output_stride = {output_stride}: 8, 16 or 32 is required')
        self.architecture, self.in_channels = architecture, in_channels
        width, stride, dilation = architecture.stem, 2, 1
        stages: list[list[nn.Module]] = [[build_stem(in_channels, width, norm_cfg)]]
        widths, strides = [width], [stride]
        for block in architecture.pruned().blocks:
            step = block.stride
            if step == 2:
                stages.append([])
                widths.append(block.width)
                if stride == output_stride:  # preserve the resolution, dilate later layers
                    step, dilation = 1, 2 * dilation
                else:
                    stride *= 2
                strides.append(stride)
            for i, operation in enumerate((block.head, *block.stack)):
                stages[-1].append(
                    build_layer(operation, width, block.width, 1 if i else step, dilation, norm_cfg)
                )
                width = block.width
            widths[-1] = width
        if with_final:
            if not architecture.final:
                raise UserError(f'with_final: {architecture.name} has no final convolution')
            final = conv_norm(width, architecture.final, 1, norm_cfg)
            stages[-1].append(Operation(*final, _relu(), norm=1))
            widths[-1] = architecture.final
        self.stages = nn.ModuleList(nn.Sequential(*stage) for stage in stages)
        if not all(0 <= i < len(stages) for i in out_indices) or not out_indices:
            raise UserError(
                f'out_indices = {tuple(out_indices)}: {architecture.name} has stages 0 to '
                f'{len(stages) - 1}'
            )
        self.out_indices = tuple(sorted(out_indices))
        self.out_channels = tuple(widths[i] for i in self.out_indices)
        self.strides = tuple(strides[i] for i in self.out_indices)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map images (N, in_channels, H, W) to the stages of ``out_indices``, finest first."""
        require_bands(self, x)
        outputs = []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in self.out_indices:
                outputs.append(x)
        return tuple(outputs)


def _relu() -> nn.Module:
    return nn.ReLU6(inplace=True)
