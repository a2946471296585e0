"""An encoder-decoder whose head follows the backbone's outputs, and that predicts fast."""

from __future__ import annotations

import copy
import inspect
from itertools import chain

import torch
from mmseg.models import EncoderDecoder
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor

from dnas_mmseg.errors import UserError

from ..deployment import switch_to_deploy
from ..supernet import Supernet


@MODELS.register_module()
class SearchedEncoderDecoder(EncoderDecoder):
    """:class:`EncoderDecoder` that fills in the heads' input channels from the backbone.

    What an architecture's outputs are is known once it is built, so a config need not repeat it.
    Where a head's config leaves them out, ``in_channels``, ``in_index`` and ``c1_in_channels`` are
    taken from ``backbone.out_channels``: all outputs for heads that take several (DNASHead,
    UPerHead, FPNHead), else the one at ``in_index`` (default -1, the coarsest). What the config
    says always wins.

    Predictions without gradients, in validation, tests and mmseg's inference API, are computed by a
    copy in the form that :func:`dnas_mmseg.models.switch_to_deploy` makes. It is made when it is
    first needed, and again after ``train()``, ``eval()`` or a change of a weight. Changes by
    ``weight.data`` are not seen: call ``eval()`` after them, as mmengine's loops do after its EMA
    has exchanged the weights. The model itself predicts where a module has forward hooks or is in
    training mode, and where it is a supernet.

    Args:
        See :class:`mmseg.models.EncoderDecoder`.
    """

    _deployed: tuple[list, EncoderDecoder] | None = None
    """The weights that the copy is of, and the copy; in a tuple, so that it is no submodule."""

    _is_deployed = False

    def train(self, mode: bool = True) -> SearchedEncoderDecoder:
        self._deployed = None
        return super().train(mode)

    def become_deployed(self) -> None:
        """This model is what predicts fastest; :func:`switch_to_deploy` says so."""
        self._is_deployed = True

    def __getstate__(self) -> dict:
        return {name: value for name, value in self.__dict__.items() if name != '_deployed'}

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Map images (N, in_channels, H, W) to logits (N, num_classes, H, W)."""
        as_it_is = (
            self._is_deployed
            or torch.is_grad_enabled()
            or isinstance(self.backbone, Supernet)
            or any(m.training or m._forward_hooks or m._forward_pre_hooks for m in self.modules())
        )
        model = self if as_it_is else self._predicting()
        return super(SearchedEncoderDecoder, model).encode_decode(inputs, batch_img_metas)

    def _predicting(self) -> SearchedEncoderDecoder:
        """The deployed copy of the weights as they are now."""
        weights = [
            (t.data_ptr(), None if t.is_inference() else t._version)
            for t in chain(self.parameters(), self.buffers())
        ]
        if self._deployed is None or self._deployed[0] != weights:
            self._deployed = weights, switch_to_deploy(copy.deepcopy(self))
        return self._deployed[1]

    def _init_decode_head(self, decode_head: dict) -> None:
        super()._init_decode_head(self._with_inputs(decode_head))

    def _init_auxiliary_head(self, auxiliary_head: dict | list[dict] | None) -> None:
        if isinstance(auxiliary_head, (list, tuple)):
            auxiliary_head = [self._with_inputs(head) for head in auxiliary_head]
        elif auxiliary_head is not None:
            auxiliary_head = self._with_inputs(auxiliary_head)
        super()._init_auxiliary_head(auxiliary_head)

    def _with_inputs(self, head: dict) -> dict:
        """The head's config with its inputs filled in where they are left out."""
        head = copy.deepcopy(head)
        head_class = MODELS.get(head['type']) if isinstance(head['type'], str) else head['type']
        if head_class is None:
            return head  # the registry's own error says what is unknown
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
                f'in_index {index}: {type(self.backbone).__name__} has {len(channels)} outputs '
                f'(channels {", ".join(map(str, channels))}), finest first'
            )
        return channels[index]

    def _feature_channels(self, head_type) -> tuple[int, ...]:
        channels = getattr(self.backbone, 'out_channels', None)
        if self.with_neck or not isinstance(channels, (tuple, list)):
            between = 'the neck' if self.with_neck else type(self.backbone).__name__
            raise UserError(
                f'the config of {head_type} leaves out in_channels, and {between} does not tell '
                'its output channels: write in_channels and in_index in the config'
            )
        return tuple(channels)


class _Declared(Exception):
    """Carries a head's ``input_transform`` out of its constructor."""


def _takes_several(head_class: type, head: dict) -> bool:
    """Whether the head reads several feature maps.

    Heads decide this in their constructors, which hand ``input_transform`` to the base class. The
    constructor is run up to there.
    """
    if not issubclass(head_class, BaseDecodeHead):
        return False

    def declare(self, in_channels, in_index, input_transform):
        raise _Declared(input_transform)

    probe = type(head_class.__name__, (head_class,), {'_init_inputs': declare})
    arguments = {key: value for key, value in head.items() if key != 'type'}
    try:
        probe(**{**arguments, 'in_channels': [1]})
    except _Declared as declared:
        return declared.args[0] is not None
    except Exception:
        # Its own arguments are wrong; building it for real will say how.
        return False
    return False
