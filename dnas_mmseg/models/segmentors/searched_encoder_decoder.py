"""Encoder-decoder that derives the input channels of its heads from the backbone."""

from __future__ import annotations

import copy
import inspect

import torch
from mmseg.models import EncoderDecoder
from mmseg.registry import MODELS
from torch import nn

from dnas_mmseg.errors import UserError
from dnas_mmseg.models.layers.input_bands import count_input_bands

_PROBE = 64
"""Side of the image that a backbone is asked with: a multiple of the usual coarsest stride."""

_SEVERAL_INPUTS = {
    'ANNHead',
    'EncHead',
    'FPNHead',
    'LightHamHead',
    'PointHead',
    'SETRMLAHead',
    'SegformerHead',
    'UPerHead',
}
"""mmseg heads with several inputs; those of this package define ``takes_several_inputs``."""


@MODELS.register_module()
class SearchedEncoderDecoder(EncoderDecoder):
    """Encoder-decoder that sets the input channels of its heads from the backbone.

    The outputs of a searched backbone depend on its architecture. If a head's config omits
    ``in_channels``, ``in_index`` or ``c1_in_channels``, they default to ``backbone.out_channels``:
    all outputs for heads with several inputs (DNASHead, UPerHead, FPNHead), otherwise the output at
    ``in_index`` (default -1, the coarsest). Explicit settings take precedence.

    A backbone that defines no ``out_channels`` is asked with a small image.

    Args:
        freeze_backbone: Whether the backbone keeps its weights and its batch norms' statistics;
            only the heads are trained.
        **kwargs: Arguments of :class:`mmseg.models.EncoderDecoder`.
    """

    def __init__(self, *args, freeze_backbone: bool = False, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.freeze_backbone = freeze_backbone
        if freeze_backbone:
            self.backbone.requires_grad_(False)

    def train(self, mode: bool = True) -> SearchedEncoderDecoder:
        """Set the training mode; a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self.freeze_backbone:
            self.backbone.eval()
        return self

    def _init_decode_head(self, decode_head: dict) -> None:
        super()._init_decode_head(self._with_inputs(decode_head))

    def _init_auxiliary_head(self, auxiliary_head: dict | list[dict] | None) -> None:
        if isinstance(auxiliary_head, (list, tuple)):
            auxiliary_head = [self._with_inputs(head) for head in auxiliary_head]
        elif auxiliary_head is not None:
            auxiliary_head = self._with_inputs(auxiliary_head)
        super()._init_auxiliary_head(auxiliary_head)

    def _with_inputs(self, head: dict) -> dict:
        """Return the head's config with its omitted input settings."""
        head = copy.deepcopy(head)
        head_class = MODELS.get(head['type']) if isinstance(head['type'], str) else head['type']
        if head_class is None:
            return head  # the registry raises an error that lists the known types
        takes_c1 = 'c1_in_channels' in inspect.signature(head_class).parameters
        if takes_c1 and 'c1_in_channels' not in head:
            head['c1_in_channels'] = self._feature_channels(head['type'])[0]
        if 'in_channels' in head:
            if isinstance(head['in_channels'], (list, tuple)):
                head.setdefault('in_index', list(range(len(head['in_channels']))))
            return head
        channels = self._feature_channels(head['type'])
        index = head.get('in_index')
        if isinstance(index, (list, tuple)) or _takes_several(head_class, head):
            index = list(range(len(channels))) if index is None else index
            index = [index] if isinstance(index, int) else index
            head['in_channels'] = [self._channels_of(channels, i) for i in index]
        else:
            index = -1 if index is None else index
            head['in_channels'] = self._channels_of(channels, index)
        head['in_index'] = index
        return head

    def _channels_of(self, channels: tuple[int, ...], index: int) -> int:
        if not -len(channels) <= index < len(channels):
            raise UserError(
                f'in_index {index} is out of range: {type(self.backbone).__name__} has '
                f'{len(channels)} outputs (channels {", ".join(map(str, channels))}), finest first'
            )
        return channels[index]

    def _feature_channels(self, head_type) -> tuple[int, ...]:
        if self.with_neck:
            raise UserError(
                f'the config of {head_type} omits in_channels, and the neck does not define '
                'out_channels: set in_channels and in_index in the config'
            )
        channels = getattr(self.backbone, 'out_channels', None)
        if not isinstance(channels, (tuple, list)):
            channels = _probe_channels(self.backbone)
        return tuple(channels)


def _probe_channels(backbone: nn.Module) -> list[int]:
    """Return the numbers of channels of a backbone's outputs for a small image."""
    training = backbone.training
    image = torch.zeros(1, count_input_bands(backbone), _PROBE, _PROBE)
    backbone.eval()  # mmseg's ResNet returns nothing
    with torch.no_grad():
        outputs = backbone(image)
    backbone.train(training)
    return [x.shape[1] for x in (outputs if isinstance(outputs, (list, tuple)) else [outputs])]


def _takes_several(head_class: type, head: dict) -> bool:
    """Return whether a head has several inputs.

    Most mmseg heads decide it in their constructors, without a setting in the config.
    """
    if getattr(head_class, 'takes_several_inputs', False) or head.get('input_transform'):
        return True
    return not _SEVERAL_INPUTS.isdisjoint(base.__name__ for base in head_class.__mro__)
