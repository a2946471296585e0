"""The operations of the DNAS space as modules (paper, table 1; facts of the released code).

Every operation keeps the resolution and maps ``in_channels`` to ``out_channels``. Convolutions have
no bias; the normalisation after each carries the affine part.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmengine.dist import get_world_size
from torch import Tensor, nn


def conv_norm(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    norm_cfg: dict,
    *,
    stride: int = 1,
    dilation: int = 1,
    bias: bool = False,
) -> list[nn.Module]:
    """A convolution that keeps the size (at stride 1) and the normalisation behind it."""
    padding = dilation * (kernel_size - 1) // 2
    return [
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, bias=bias),
        build_norm_layer(norm_cfg, out_channels)[1],
    ]


class GlobalAveragePool(nn.Sequential):
    """Mean over the map, conv1x1, normalisation, ReLU, spread over the map again."""

    def __init__(self, in_channels: int, out_channels: int, norm_cfg: dict) -> None:
        super().__init__(*conv_norm(in_channels, out_channels, 1, norm_cfg), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H, W)."""
        conv, norm, relu = self
        pooled = relu(_normalise_pooled(norm, conv(x.mean((2, 3), keepdim=True))))
        return pooled.expand(-1, -1, *x.shape[2:])


def _normalise_pooled(norm: nn.Module, x: Tensor) -> Tensor:
    """Normalise a 1x1 map, also where the batch holds a single one.

    One value a channel has no variance, and torch refuses to train on it. Such a batch is
    normalised by the running statistics and leaves them as they are.
    """
    alone = x.shape[0] == 1 and isinstance(norm, nn.modules.batchnorm._BatchNorm)
    if isinstance(norm, nn.SyncBatchNorm):
        alone &= get_world_size() == 1
    if not (norm.training and alone):
        return norm(x)
    return F.batch_norm(
        x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
    )


def _conv(kernel_size: int, dilation: int = 1) -> Callable[[int, int, dict], nn.Module]:
    def build(in_channels: int, out_channels: int, norm_cfg: dict) -> nn.Module:
        layers = conv_norm(in_channels, out_channels, kernel_size, norm_cfg, dilation=dilation)
        return nn.Sequential(*layers, nn.ReLU(inplace=True))

    return build


def _separable_conv(kernel_size: int) -> Callable[[int, int, dict], nn.Module]:
    def build(in_channels: int, out_channels: int, norm_cfg: dict) -> nn.Module:
        depthwise = nn.Conv2d(
            in_channels,
            in_channels,
            kernel_size,
            padding=kernel_size // 2,
            groups=in_channels,
            bias=False,
        )
        pointwise = conv_norm(in_channels, out_channels, 1, norm_cfg)
        return nn.Sequential(depthwise, *pointwise, nn.ReLU(inplace=True))

    return build


def _pool(pool: Callable[[], nn.Module]) -> Callable[[int, int, dict], nn.Module]:
    def build(in_channels: int, out_channels: int, norm_cfg: dict) -> nn.Module:
        return nn.Sequential(*conv_norm(in_channels, out_channels, 1, norm_cfg), pool())

    return build


OPERATIONS: dict[str, Callable[[int, int, dict], nn.Module]] = {
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
:data:`dnas_mmseg.architectures.dnas.OPERATIONS`."""
