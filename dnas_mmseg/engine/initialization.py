"""Initialisation from checkpoints with other bands or other classes."""

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
from dnas_mmseg.models.layers.input_bands import adapt_input_conv


@WEIGHT_INITIALIZERS.register_module()
class MultiBandPretrained:
    """Initialise a model from a checkpoint with other bands or classes (``init_cfg``).

    Set it in a backbone, or in a whole segmentor to fine-tune it.

    :func:`adapt_input_conv` adapts the first convolution. Classification layers (``conv_seg``) with
    another number of classes and auxiliary heads missing in the checkpoint keep their random
    initialisation, which is logged. Other mismatches raise an error; mmengine's ``Pretrained`` only
    logs them.

    Args:
        checkpoint: Path or URL, as for mmengine's ``Pretrained``.
        bands: Names of the input bands of the model, in order.
        source_bands: Names of the input bands of the checkpoint, in order; defaults to red, green,
            blue.
        prefix: Load only keys with this prefix, e.g. ``'backbone.'``, and remove it.

    Example:
        >>> init_cfg = dict(
        ...     type='MultiBandPretrained', checkpoint='torchvision://resnet18',
        ...     bands=('nir', 'red', 'green', 'blue'),
        ... )  # of a backbone
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
            UserError: The checkpoint belongs to another network.
        """
        # mmengine would initialise the children afterwards and overwrite the loaded weights.
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
                    f'{self.checkpoint}: {key} has shape {tuple(value.shape)}, expected '
                    f'{tuple(own[key].shape)}: the checkpoint belongs to another network'
                )
        missing = [
            key for key in own if key not in state and not key.endswith('num_batches_tracked')
        ]
        fresh += [key for key in missing if key.startswith('auxiliary_head') or 'conv_seg.' in key]
        missing = [key for key in missing if key not in fresh]
        if missing:
            raise UserError(
                f'{self.checkpoint}: {len(missing)} of {len(own)} tensors of '
                f'{type(module).__name__} are missing (first {missing[0]}). To initialise a '
                "backbone from a segmentor, set prefix='backbone.'; set checkpoints of a backbone "
                'in the init_cfg of the backbone'
            )
        module.load_state_dict({k: v for k, v in state.items() if k not in fresh}, strict=False)
        print_log(
            f'{type(module).__name__} initialised from {self.checkpoint}: {stem} from bands '
            f'{self.source_bands} to {self.bands}; randomly initialised: '
            f'{", ".join(fresh) or "none"}',
            logger='current',
        )

    def _adapted(self, key: str, weight: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        """Return the first convolution, adapted to the bands of the model."""
        for what, tensor, bands in (
            (self.checkpoint, weight, self.source_bands),
            ('the model', own, self.bands),
        ):
            if tensor.shape[1] != len(bands):
                raise UserError(
                    f'{what}: {key} has {tensor.shape[1]} input bands, but {len(bands)} band names '
                    f'are set ({", ".join(bands)})'
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
