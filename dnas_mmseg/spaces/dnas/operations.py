"""The cells of the DNAS space and their operations (paper, table 1; facts of the released code).

Every operation keeps the resolution and maps ``in_channels`` to ``out_channels``. Convolutions have
no bias; the normalisation after each carries the affine part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from torch import Tensor, nn

from dnas_mmseg.models.layers.operation import GlobalAveragePool, Operation, conv_norm, sum_tensors


class LightCell(Operation):
    """Cell of the first two stages: 3x3 convolution and normalisation of a rectified input."""

    def __init__(self, in_channels: int, out_channels: int, norm_cfg: dict) -> None:
        super().__init__(*conv_norm(in_channels, out_channels, 3, norm_cfg), norm=1)


class Cell(nn.ModuleDict):
    """Cell on an edge: the sum of its operations on an input of the target's size."""

    def __init__(
        self, operations: Iterable[str], in_channels: int, out_channels: int, norm_cfg: dict
    ) -> None:
        super().__init__(
            {name: BUILDERS[name](in_channels, out_channels, norm_cfg) for name in operations}
        )

    def forward(self, x: Tensor, weights: Sequence[Tensor] | None = None) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H, W).

        Args:
            x: Input, (N, in_channels, H, W).
            weights: Weights of the operations, a scalar >= 0 each; by default all count once.
        """
        factors: Sequence[Tensor | None] = [None] * len(self) if weights is None else weights
        return sum_tensors(
            operation(x, factor) for operation, factor in zip(self.values(), factors, strict=True)
        )


def _conv(kernel_size: int, dilation: int = 1) -> Callable[[int, int, dict], Operation]:
    def build(in_channels: int, out_channels: int, norm_cfg: dict) -> Operation:
        layers = conv_norm(in_channels, out_channels, kernel_size, norm_cfg, dilation=dilation)
        return Operation(*layers, nn.ReLU(inplace=True), norm=1)

    return build


def _separable_conv(kernel_size: int) -> Callable[[int, int, dict], Operation]:
    def build(in_channels: int, out_channels: int, norm_cfg: dict) -> Operation:
        depthwise = nn.Conv2d(
            in_channels,
            in_channels,
            kernel_size,
            padding=kernel_size // 2,
            groups=in_channels,
            bias=False,
        )
        pointwise = conv_norm(in_channels, out_channels, 1, norm_cfg)
        return Operation(depthwise, *pointwise, nn.ReLU(inplace=True), norm=2)

    return build


def _pool(pool: Callable[[], nn.Module]) -> Callable[[int, int, dict], Operation]:
    def build(in_channels: int, out_channels: int, norm_cfg: dict) -> Operation:
        return Operation(*conv_norm(in_channels, out_channels, 1, norm_cfg), pool(), norm=1)

    return build


BUILDERS: dict[str, Callable[[int, int, dict], Operation]] = {
    'conv1x1': _conv(1),
    'conv3x3': _conv(3),
    'conv3x3_dil3': _conv(3, dilation=3),
    'conv3x3_dil12': _conv(3, dilation=12),
    'sep_conv_3x3': _separable_conv(3),
    'sep_conv_5x5': _separable_conv(5),
    'sep_conv_7x7': _separable_conv(7),
    'avg_pool_3x3': _pool(lambda: nn.AvgPool2d(3, 1, 1, count_include_pad=False)),
    'max_pool_3x3': _pool(lambda: nn.MaxPool2d(3, 1, 1)),
    'global_average_pool': GlobalAveragePool,
}
"""Builders ``(in_channels, out_channels, norm_cfg) -> module``; names and order are those of
:data:`dnas_mmseg.spaces.dnas.architecture.OPERATIONS`."""
