"""Placement of models on devices, in the memory format that is fast there."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

M = TypeVar('M', bound=nn.Module)

_CONTIGUOUS = ('DMHead',)
"""Heads of mmseg that merge the dimensions of batch and channels of their input."""


def place(model: M, device: str | torch.device) -> M:
    """Move a model to a device; on a CPU, convolutions then compute in ``channels_last``.

    A convolution returns its maps in the format of its weights, in which all further layers stay.
    oneDNN and torch's own kernels are faster in it: up to 1.3 times in training and 1.6 times in
    inference for networks of mmseg (benchmarks/speed_training.md). Results are equal up to
    rounding. On other devices the format of the weights is left unchanged, as it is in models with
    a head that requires contiguous maps.

    Args:
        model: Any model; it is modified in place.
        device: Name of the device.

    Returns:
        The model.

    Example:
        >>> conv = place(nn.Conv2d(4, 8, 3), 'cpu')
        >>> conv(torch.zeros(1, 4, 9, 9)).is_contiguous(memory_format=torch.channels_last)
        True
    """
    model = model.to(device)
    modules = list(model.modules())
    if torch.device(device).type != 'cpu' or any(type(m).__name__ in _CONTIGUOUS for m in modules):
        return model
    for module in modules:
        if type(module) in (nn.Conv2d, nn.ConvTranspose2d):  # subclasses may view their weights
            weight = module.get_parameter('weight')
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    return model


def align_optimizer(optimizer: torch.optim.Optimizer) -> None:
    """Give the state of an optimizer the memory format of its parameters.

    A state loaded from a checkpoint keeps the format in which it was saved, on another device or by
    an earlier version. Fused optimizers would combine elements of different places, without an
    error. Whether an optimizer is fused is as it was built, not as in the checkpoint.

    Args:
        optimizer: Optimizer after loading its state; modified in place.
    """
    for group in optimizer.param_groups:
        if 'fused' in group:
            group['fused'] = optimizer.defaults.get('fused')
        for parameter in group['params']:
            state = optimizer.state.get(parameter, {})
            for name, value in state.items():
                if torch.is_tensor(value) and value.shape == parameter.shape:
                    aligned = torch.empty_like(parameter, dtype=value.dtype, device=value.device)
                    state[name] = aligned.copy_(value)
