"""Initialisation from checkpoints of other bands or other classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.logging import print_log
from mmengine.registry import WEIGHT_INITIALIZERS
from mmengine.runner import CheckpointLoader
from torch import nn

RGB = ('red', 'green', 'blue')


def adapt_input_conv(
    weight: torch.Tensor, source_bands: Sequence[str], bands: Sequence[str]
) -> torch.Tensor:
    """A convolution's kernels for other input bands.

    A band that the checkpoint knows by name keeps its kernels, to the bit. Any other band gets the
    mean of the known ones: a new band starts by seeing structure, not noise.

    Args:
        weight: Shape (out_channels, len(source_bands), kH, kW).
        source_bands: The checkpoint's bands, in its order.
        bands: The bands wanted, in the input's order.

    Returns:
        Shape (out_channels, len(bands), kH, kW).
    """
    mean = weight.mean(1)
    places = {name: place for place, name in enumerate(source_bands)}
    return torch.stack([weight[:, places[b]] if b in places else mean for b in bands], dim=1)


@WEIGHT_INITIALIZERS.register_module()
class MultiBandPretrained:
    """``init_cfg`` that starts from a checkpoint of other bands or other classes.

    Used on a backbone (``backbone=dict(init_cfg=dict(type='MultiBandPretrained', ...))``) or on a
    whole segmentor (``model=dict(init_cfg=...)``) to fine-tune it. The first convolution is adapted
    by :func:`adapt_input_conv`; classification layers (``conv_seg``) of another number of classes
    stay freshly initialised; both are reported. Anything else that does not fit is an error, where
    mmengine's ``Pretrained`` leaves it random with no more than a log line.

    Args:
        checkpoint: Path or URL, as mmengine's ``Pretrained`` takes it.
        bands: The model's bands in the input's order.
        source_bands: The checkpoint's bands in its order; red, green, blue by default.
        prefix: Load only what begins with it in the checkpoint, ``'backbone.'`` for instance.
    """

    def __init__(
        self,
        checkpoint: str,
        bands: Sequence[str],
        source_bands: Sequence[str] = RGB,
        prefix: str = '',
    ) -> None:
        self.checkpoint = checkpoint
        self.bands = tuple(bands)
        self.source_bands = tuple(source_bands)
        self.prefix = prefix

    def __call__(self, module: nn.Module) -> None:
        """Initialise the module in place.

        Raises:
            ValueError: The checkpoint is not one of this network.
        """
        # mmengine initialises children after their parent, which would undo this; so they go first.
        for child in module.children():
            if hasattr(child, 'init_weights'):
                child.init_weights()
        for part in module.modules():
            if hasattr(part, 'init_weights'):
                part.is_init = True
        self._load(module)

    def _load(self, module: nn.Module) -> None:
        own = module.state_dict()
        loaded, adapted, fresh = {}, [], []
        for key, value in self._state_dict().items():
            if key not in own or own[key].shape == value.shape:
                loaded[key] = value
            elif self._is_input_conv(own[key], value):
                loaded[key] = adapt_input_conv(value, self.source_bands, self.bands)
                adapted.append(key)
            elif 'conv_seg.' in key:
                fresh.append(key)
            else:
                raise ValueError(
                    f'{self.checkpoint}: {key} has shape {tuple(value.shape)}, the model needs '
                    f'{tuple(own[key].shape)}: this is a checkpoint of another network'
                )
        missing = [key for key in own if key not in loaded and key not in fresh]
        missing = [key for key in missing if not key.endswith('num_batches_tracked')]
        if len(missing) > len(own) // 2:
            raise ValueError(
                f'{self.checkpoint}: {len(missing)} of {len(own)} tensors of '
                f'{type(module).__name__} are not in it (first {missing[0]}). A checkpoint of a '
                "whole segmentor needs prefix='backbone.' to initialise a backbone."
            )
        module.load_state_dict(loaded, strict=False)
        print_log(
            f'{type(module).__name__} initialised from {self.checkpoint}: '
            f'{len([k for k in loaded if k in own])} tensors; '
            f'adapted from bands {self.source_bands} to {self.bands}: {adapted or "-"}; '
            f'other number of classes, left fresh: {fresh or "-"}; '
            f'not in the checkpoint, left fresh: {missing or "-"}',
            logger='current',
        )

    def _state_dict(self) -> dict[str, torch.Tensor]:
        checkpoint = CheckpointLoader.load_checkpoint(self.checkpoint, map_location='cpu')
        state = checkpoint.get('state_dict', checkpoint)
        return {
            key.removeprefix('module.').removeprefix(self.prefix): value
            for key, value in state.items()
            if key.removeprefix('module.').startswith(self.prefix)
        }

    def _is_input_conv(self, own: torch.Tensor, value: torch.Tensor) -> bool:
        return (
            value.ndim == 4
            and value.shape[1] == len(self.source_bands)
            and own.shape[1] == len(self.bands)
            and (own.shape[0], *own.shape[2:]) == (value.shape[0], *value.shape[2:])
        )
