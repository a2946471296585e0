"""Operations between feature maps: convolutions, norms, and how their results are summed."""

from __future__ import annotations

from collections.abc import Iterable

import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmengine.dist import get_world_size
from torch import Tensor, nn
from torch.func import functional_call


def conv_norm(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    norm_cfg: dict,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    bias: bool = False,
) -> list[nn.Module]:
    """Return a convolution that keeps the size (at stride 1) and the normalisation behind it."""
    padding = dilation * (kernel_size - 1) // 2
    return [
        nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias=bias
        ),
        build_norm_layer(norm_cfg, out_channels)[1],
    ]


def conv_norm_relu(
    in_channels: int, out_channels: int, kernel_size: int, norm_cfg: dict, **kwargs
) -> nn.Sequential:
    """Return the layers of :func:`conv_norm`, which takes the same arguments, and a ReLU."""
    layers = conv_norm(in_channels, out_channels, kernel_size, norm_cfg, **kwargs)
    return nn.Sequential(*layers, nn.ReLU(inplace=True))


class Operation(nn.Sequential):
    """Layers with a normalisation, number ``norm``, behind which all layers pass on a factor.

    A factor ``weight >= 0`` of the output, or of each channel, then goes into the normalisation's
    affine part at no cost; ReLU and pooling pass it on. Multiplying the output would cost a pass
    over the map, and another map to keep for the factor's gradient.
    """

    def __init__(self, *layers: nn.Module, norm: int) -> None:
        super().__init__(*layers)
        self._norm = norm

    def forward(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H, W), times ``weight >= 0``.

        Args:
            x: Input, (N, in_channels, H, W).
            weight: Factor of the output, a scalar or one value for each output channel.
        """
        for i, layer in enumerate(self):
            x = layer(x) if i != self._norm else _normalise(layer, x, weight)
        return x


def sum_tensors(terms: Iterable[Tensor]) -> Tensor:
    """Return the sum of one or more tensors, from the first to the last."""
    terms = iter(terms)
    total = next(terms)
    for i, term in enumerate(terms):
        # The first sum is a new tensor, which no backward needs: it can take the rest in place.
        total = total.add_(term) if i else total + term
    return total


def _normalise(norm: nn.Module, x: Tensor, weight: Tensor | None) -> Tensor:
    """Return the normalised map, times a factor.

    A single 1x1 map has one value a channel, which has no variance, and torch refuses to train on
    it. It is normalised by the running statistics and leaves them as they are.
    """
    alone = x.numel() == x.shape[1]
    if isinstance(norm, nn.SyncBatchNorm):
        alone &= get_world_size() == 1
    if norm.training and alone and isinstance(norm, nn.modules.batchnorm._BatchNorm):
        x = F.batch_norm(
            x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
        )
        return x if weight is None else weight.reshape(-1, 1, 1) * x
    if weight is None:
        return norm(x)
    # torch 2.13 on CPUs crashes in the backward pass of group norm where the affine part needs a
    # gradient and a channels-last map does not, as in an architecture step.
    crashes = isinstance(norm, nn.GroupNorm) and not x.requires_grad
    scaled = {name: weight * tensor for name, tensor in norm.named_parameters()}
    if crashes or not scaled:
        return weight.reshape(-1, 1, 1) * norm(x)
    return functional_call(norm, scaled, (x,))


class GlobalAveragePool(Operation):
    """Mean over the map, conv1x1, normalisation, ReLU, spread over the map again."""

    def __init__(self, in_channels: int, out_channels: int, norm_cfg: dict) -> None:
        layers = conv_norm(in_channels, out_channels, 1, norm_cfg)
        super().__init__(*layers, nn.ReLU(inplace=True), norm=1)

    def forward(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """Map (N, C, H, W) as every operation does; the output is a view of one value a channel."""
        pooled = super().forward(x.mean((2, 3), keepdim=True), weight)
        return pooled.expand(-1, -1, *x.shape[2:])
