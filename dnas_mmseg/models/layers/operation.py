"""Weighted operations between feature maps, and the sum of their outputs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

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
    """Return a convolution with same padding (at stride 1) and a normalisation layer."""
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
    """Return the layers of :func:`conv_norm`, with the same arguments, followed by a ReLU."""
    layers = conv_norm(in_channels, out_channels, kernel_size, norm_cfg, **kwargs)
    return nn.Sequential(*layers, nn.ReLU(inplace=True))


class Operation(nn.Sequential):
    """Sequence of layers whose output can be scaled by an architecture weight at no cost.

    A factor ``weight >= 0`` scales the affine parameters of layer ``norm``; the layers after it are
    positively homogeneous (ReLU, pooling), so the output scales by the same factor. Multiplying the
    output instead would cost another pass, and another map stored for the gradient of the factor.
    """

    def __init__(self, *layers: nn.Module, norm: int) -> None:
        super().__init__(*layers)
        self._norm = norm

    def forward(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H, W).

        Args:
            x: Input, (N, in_channels, H, W).
            weight: Non-negative factor of the output, a scalar or (out_channels,).
        """
        for i, layer in enumerate(self):
            x = layer(x) if i != self._norm else _normalise(layer, x, weight)
        return x


def sum_tensors(terms: Iterable[Tensor]) -> Tensor:
    """Return the sum of one or more tensors, added in order."""
    terms = iter(terms)
    total = next(terms)
    for i, term in enumerate(terms):
        # The first sum is a new tensor that backward does not need: add the rest in place.
        total = total.add_(term) if i else total + term
    return total


def _normalise(norm: nn.Module, x: Tensor, weight: Tensor | None) -> Tensor:
    """Apply a normalisation layer with its affine parameters scaled by a factor.

    In training, torch raises an error for a single value per channel, which has no variance. Such a
    map is normalised by the running statistics, which do not change.
    """
    if isinstance(norm, nn.modules.batchnorm._BatchNorm) and _lacks_variance(norm, x):
        x = F.batch_norm(
            x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
        )
        return x if weight is None else weight.reshape(-1, 1, 1) * x
    if weight is None:
        return norm(x)
    # torch 2.13 on CPUs crashes in the backward pass of group norm if its affine parameters require
    # a gradient and its channels-last input does not, as in an architecture step.
    crashes = isinstance(norm, nn.GroupNorm) and not x.requires_grad
    scaled = {name: weight * tensor for name, tensor in norm.named_parameters()}
    if crashes or not scaled:
        return weight.reshape(-1, 1, 1) * norm(x)
    return functional_call(norm, scaled, (x,))


def _lacks_variance(norm: nn.modules.batchnorm._BatchNorm, x: Tensor) -> bool:
    """Return whether a batch norm in training gets a single value per channel."""
    is_single = x.numel() == x.shape[1]
    if isinstance(norm, nn.SyncBatchNorm):
        is_single &= get_world_size() == 1
    return norm.training and is_single


def accept_single_values(module: nn.Module) -> None:
    """Let the batch norms of a module train on a single value per channel, as operations do.

    They normalise it by their running statistics, which do not change.

    Args:
        module: Module of another package; hooks are added to its batch norms.
    """
    for norm in module.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm) and norm.running_mean is not None:
            norm.register_forward_pre_hook(_stop_training)
            norm.register_forward_hook(_continue_training, always_call=True)


def _stop_training(norm: Any, inputs: tuple[Tensor]) -> None:
    if _lacks_variance(norm, inputs[0]):
        norm.training, norm.is_paused = False, True


def _continue_training(norm: Any, inputs: tuple[Tensor], output: Tensor) -> None:
    if getattr(norm, 'is_paused', False):
        norm.training, norm.is_paused = True, False


class GlobalAveragePool(Operation):
    """Global average pooling, 1x1 convolution, normalisation, ReLU, and expansion to the map."""

    def __init__(self, in_channels: int, out_channels: int, norm_cfg: dict) -> None:
        layers = conv_norm(in_channels, out_channels, 1, norm_cfg)
        super().__init__(*layers, nn.ReLU(inplace=True), norm=1)

    def forward(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """Map (N, C, H, W) like every operation; the output is an expanded view of (N, C, 1, 1)."""
        pooled = super().forward(x.mean((2, 3), keepdim=True), weight)
        return pooled.expand(-1, -1, *x.shape[2:])
