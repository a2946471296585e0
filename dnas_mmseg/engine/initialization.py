"""Initialisation from checkpoints of other bands or other classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.registry import WEIGHT_INITIALIZERS
from mmengine.runner import CheckpointLoader
from torch import nn

from dnas_mmseg.bands import RGB, band_names
from dnas_mmseg.errors import UserError


def adapt_input_conv(
    weight: torch.Tensor, source_bands: Sequence[str], bands: Sequence[str]
) -> torch.Tensor:
    """Return a convolution's kernels for other input bands.

    A band that the checkpoint knows by name keeps its kernels, to the bit. Any other band gets the
    mean of the known ones: a new band starts by seeing structure, not noise.

    Args:
        weight: Kernels of the checkpoint, (out_channels, len(source_bands), kH, kW).
        source_bands: Names of the checkpoint's bands, in its order.
        bands: Names of the wanted bands, in the input's order.

    Returns:
        Kernels for the wanted bands, (out_channels, len(bands), kH, kW).
    """
    mean = weight.mean(1)
    places = {name: place for place, name in enumerate(source_bands)}
    return torch.stack([weight[:, places[b]] if b in places else mean for b in bands], dim=1)


@WEIGHT_INITIALIZERS.register_module()
class MultiBandPretrained:
    """``init_cfg`` that starts from a checkpoint of other bands or other classes.

    Used on a backbone (``backbone=dict(init_cfg=dict(type='MultiBandPretrained', ...))``) or on a
    whole segmentor (``model=dict(init_cfg=...)``) to fine-tune it. The first convolution is adapted
    by :func:`adapt_input_conv`. Classification layers (``conv_seg``) of another number of classes
    and auxiliary heads that the checkpoint lacks stay freshly initialised. All of this is reported;
    anything else that does not fit is an error, where mmengine's ``Pretrained`` leaves it random
    with no more than a log line.

    Args:
        checkpoint: Path or URL, as mmengine's ``Pretrained`` takes it.
        bands: Names of the model's bands, in the input's order.
        source_bands: Names of the checkpoint's bands, in its order; red, green, blue by default.
        prefix: Beginning of the checkpoint's keys to load, ``'backbone.'`` for instance; it is
            removed.
    """

    def __init__(
        self,
        checkpoint: str,
        bands: Sequence[str],
        source_bands: Sequence[str] = RGB,
        prefix: str = '',
    ) -> None:
        self.checkpoint = checkpoint
        self.bands = band_names(bands)
        self.source_bands = band_names(source_bands)
        self.prefix = prefix

    def __call__(self, module: nn.Module) -> None:
        """Initialise the module in place.

        Raises:
            UserError: The checkpoint is not one of this network.
        """
        # mmengine initialises children after their parent, which would undo this; so they go first.
        for child in module.children():
            init_weights = getattr(child, 'init_weights', None)
            if init_weights is not None:
                init_weights()
        part: Any
        for part in module.modules():
            if hasattr(part, 'init_weights'):
                part.is_init = True
        self._load(module)

    def _load(self, module: nn.Module) -> None:
        own, state = module.state_dict(), self._state_dict()
        stem = next(key for key, value in own.items() if value.ndim == 4)
        if stem in state:
            state[stem] = self._adapted(stem, state[stem], own[stem])
        fresh = [
            key
            for key, value in state.items()
            if 'conv_seg.' in key and key in own and own[key].shape != value.shape
        ]
        for key, value in state.items():
            if key in own and key not in fresh and own[key].shape != value.shape:
                raise UserError(
                    f'{self.checkpoint}: {key} has shape {tuple(value.shape)}, the model needs '
                    f'{tuple(own[key].shape)}: this is a checkpoint of another network'
                )
        missing = [
            key for key in own if key not in state and not key.endswith('num_batches_tracked')
        ]
        fresh += [key for key in missing if key.startswith('auxiliary_head') or 'conv_seg.' in key]
        missing = [key for key in missing if key not in fresh]
        if missing:
            raise UserError(
                f'{self.checkpoint}: {len(missing)} of {len(own)} tensors of '
                f'{type(module).__name__} are not in it (first {missing[0]}). A checkpoint of a '
                "whole segmentor needs prefix='backbone.' to initialise a backbone; one of a "
                "backbone belongs into the backbone's init_cfg."
            )
        module.load_state_dict({k: v for k, v in state.items() if k not in fresh}, strict=False)
        print_log(
            f'{type(module).__name__} initialised from {self.checkpoint}: {stem} from bands '
            f'{self.source_bands} to {self.bands}; left fresh: {", ".join(fresh) or "nothing"}',
            logger='current',
        )

    def _adapted(self, key: str, weight: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        """Return the first convolution for this model's bands."""
        for what, tensor, bands in (
            (self.checkpoint, weight, self.source_bands),
            ('the model', own, self.bands),
        ):
            if tensor.shape[1] != len(bands):
                raise UserError(
                    f'{what}: {key} reads {tensor.shape[1]} bands, but {len(bands)} are named '
                    f'({", ".join(bands)})'
                )
        return adapt_input_conv(weight, self.source_bands, self.bands)

    def _state_dict(self) -> dict[str, torch.Tensor]:
        checkpoint = CheckpointLoader.load_checkpoint(self.checkpoint, map_location='cpu')
        state = checkpoint.get('state_dict', checkpoint)
        return {
            key.removeprefix('module.').removeprefix(self.prefix): value
            for key, value in state.items()
            if key.removeprefix('module.').startswith(self.prefix)
        }
