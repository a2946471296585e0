"""Trained models in the form in which they run fastest."""

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
    """Turn a trained model into one that only predicts: the same outputs to rounding, faster.

    A batch norm is folded into the convolution before it wherever one is sure to follow the other:
    neighbours in a sequence, mmcv's ConvModule, mmseg's residual networks. A linear
    :class:`DNASHead` becomes one convolution to a few channels. What this replaces is gone, and no
    gradients pass, to the input neither: keep the checkpoint. A second call changes nothing.

    Args:
        model: Segmentor of any kind; it is changed in place.

    Returns:
        Model, in evaluation mode.
    """
    model = revert_sync_batchnorm(model.eval()).eval()
    for module in list(model.modules()):
        for conv, norm in list(_pairs(module)):
            before, behind = getattr(module, conv), getattr(module, norm)
            if type(before) is nn.Conv2d and _is_settled(behind):
                setattr(module, conv, fuse_conv_bn_eval(before, behind))
                setattr(module, norm, nn.Identity())
    for module in list(model.modules()):
        become_deployed = getattr(module, 'become_deployed', None)  # this package's
        if become_deployed is not None:
            become_deployed()
    return model.requires_grad_(False)


def _is_settled(norm: nn.Module) -> bool:
    """Return whether a norm is a batch norm that normalises by its running statistics."""
    batch_norm = isinstance(norm, nn.modules.batchnorm._BatchNorm)
    return batch_norm and norm.running_mean is not None


def _pairs(module: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield pairs of children's names where only the second one reads the first one's output."""
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
