"""Cells of the DNAS space and their operations (paper, table 1, and the released code).

Operations preserve the resolution and map ``in_channels`` to ``out_channels``. Their convolutions
have no bias, because the normalisations are affine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from torch import Tensor, nn

from dnas_mmseg.models.layers.operation import GlobalAveragePool, Operation, conv_norm, sum_tensors

from .architecture import OPERATION_SPECS, OperationSpec


class LightCell(Operation):
    """Cell of the first two stages: 3x3 convolution of a rectified input, and normalisation."""

    def __init__(self, in_channels: int, out_channels: int, norm_cfg: dict) -> None:
        super().__init__(*conv_norm(in_channels, out_channels, 3, norm_cfg), norm=1)


class Cell(nn.ModuleDict):
    """Cell of an edge: sum of its operations on an input of the target's size."""

    def __init__(
        self, operations: Iterable[str], in_channels: int, out_channels: int, norm_cfg: dict
    ) -> None:
        super().__init__(
            {n: build_operation(n, in_channels, out_channels, norm_cfg) for n in operations}
        )

    def forward(self, x: Tensor, weights: Sequence[Tensor] | None = None) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H, W).

        Args:
            x: Input, (N, in_channels, H, W).
            weights: Weights of the operations, scalars >= 0; 1 by default.
        """
        factors: Sequence[Tensor | None] = [None] * len(self) if weights is None else weights
        return sum_tensors(
            operation(x, factor) for operation, factor in zip(self.values(), factors, strict=True)
        )


def build_operation(name: str, in_channels: int, out_channels: int, norm_cfg: dict) -> Operation:
    """Build an operation of :data:`dnas_mmseg.spaces.dnas.architecture.OPERATION_SPECS`."""
    spec = OPERATION_SPECS[name]
    return _BUILDERS[spec.kind](in_channels, out_channels, norm_cfg, spec)


def _conv(in_channels: int, out_channels: int, norm_cfg: dict, spec: OperationSpec) -> Operation:
    layers = conv_norm(
        in_channels, out_channels, spec.kernel_size, norm_cfg, dilation=spec.dilation
    )
    return Operation(*layers, nn.ReLU(inplace=True), norm=1)


def _separable_conv(
    in_channels: int, out_channels: int, norm_cfg: dict, spec: OperationSpec
) -> Operation:
    depthwise = nn.Conv2d(
        in_channels,
        in_channels,
        spec.kernel_size,
        padding=spec.kernel_size // 2,
        groups=in_channels,
        bias=False,
    )
    pointwise = conv_norm(in_channels, out_channels, 1, norm_cfg)
    return Operation(depthwise, *pointwise, nn.ReLU(inplace=True), norm=2)


def _avg_pool(
    in_channels: int, out_channels: int, norm_cfg: dict, spec: OperationSpec
) -> Operation:
    layers = conv_norm(in_channels, out_channels, spec.kernel_size, norm_cfg)
    return Operation(*layers, nn.AvgPool2d(3, 1, 1, count_include_pad=False), norm=1)


def _max_pool(
    in_channels: int, out_channels: int, norm_cfg: dict, spec: OperationSpec
) -> Operation:
    layers = conv_norm(in_channels, out_channels, spec.kernel_size, norm_cfg)
    return Operation(*layers, nn.MaxPool2d(3, 1, 1), norm=1)


def _global_average_pool(
    in_channels: int, out_channels: int, norm_cfg: dict, spec: OperationSpec
) -> Operation:
    return GlobalAveragePool(in_channels, out_channels, norm_cfg)


_BUILDERS: dict[str, Callable[[int, int, dict, OperationSpec], Operation]] = {
    'conv': _conv,
    'separable_conv': _separable_conv,
    'avg_pool': _avg_pool,
    'max_pool': _max_pool,
    'global_average_pool': _global_average_pool,
}
