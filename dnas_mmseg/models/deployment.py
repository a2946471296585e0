"""Conversion of trained models to their fastest form for inference."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TypeVar

from mmcv.cnn import ConvModule
from mmengine.model import revert_sync_batchnorm
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

M = TypeVar('M', bound=nn.Module)


def switch_to_deploy(model: M) -> M:
    """Convert a trained model for inference; its outputs are equal up to rounding.

    Batch norms are folded into the preceding convolution where the order of computation is known:
    consecutive layers of a Sequential, mmcv's ConvModule, mmseg's residual networks. A linear
    :class:`DNASHead` is merged into a single convolution. The conversion cannot be undone, and the
    model cannot be trained or differentiated afterwards: keep the checkpoint. A second call has no
    effect.

    Args:
        model: Any segmentor; it is modified in place.

    Returns:
        The model, in evaluation mode.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8))
        >>> switch_to_deploy(model)[1]
        Identity()
    """
    model = revert_sync_batchnorm(model.eval()).eval()
    for module in list(model.modules()):
        for conv, norm in list(_pairs(module)):
            first, second = getattr(module, conv), getattr(module, norm)
            if type(first) is nn.Conv2d and _is_foldable(second):
                setattr(module, conv, fuse_conv_bn_eval(first, second))
                setattr(module, norm, nn.Identity())
    for module in list(model.modules()):
        become_deployed = getattr(module, 'become_deployed', None)  # modules of this package
        if become_deployed is not None:
            become_deployed()
    return model.requires_grad_(False)


def _is_foldable(norm: nn.Module) -> bool:
    """Return whether a layer is a batch norm with running statistics."""
    batch_norm = isinstance(norm, nn.modules.batchnorm._BatchNorm)
    return batch_norm and norm.running_mean is not None


def _pairs(module: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield pairs of names of children, the first of which only feeds the second."""
    if isinstance(module, nn.Sequential):
        yield from itertools.pairwise(module._modules)
    elif isinstance(module, ConvModule):
        if module.with_norm and module.order[:2] == ('conv', 'norm'):
            yield 'conv', module.norm_name
    else:
        for i in range(1, 4):  # ResNet, HRNet and their blocks
            conv, norm = f'conv{i}', getattr(module, f'norm{i}_name', None)
            if norm is not None and hasattr(module, conv):
                yield conv, norm
