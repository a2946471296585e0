"""Ensemble of trained segmentors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from mmengine.config import ConfigDict
from mmseg.models import EncoderDecoder
from mmseg.registry import MODELS
from torch import Tensor, nn

from dnas_mmseg.errors import UserError


@MODELS.register_module()
class EnsembleSegmentor(EncoderDecoder):
    """Mean of the class probabilities of several segmentors.

    It predicts, exports and is tested like any encoder-decoder, and cannot be trained. Its cost is
    the sum of those of the members.

    Args:
        members: Configs of the segmentors, for the same bands and classes.
        data_preprocessor: Preprocessor of all members; theirs are not used.
        test_cfg: Settings of inference, ``mode='whole'`` by default.
        init_cfg: Settings of initialisation.

    Raises:
        UserError: There are no members, or their numbers of outputs differ.

    Source: greedy selection of its members by Caruana et al., Ensemble selection from libraries of
    models, ICML 2004 (:func:`dnas_mmseg.selection.ensemble.select_members`).
    """

    def __init__(
        self,
        members: Sequence[dict],
        data_preprocessor: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super(EncoderDecoder, self).__init__(
            data_preprocessor=data_preprocessor, init_cfg=init_cfg
        )  # its own constructor would build a backbone
        if not members:
            raise UserError('EnsembleSegmentor: expected at least one member')
        built = [MODELS.build({**member, 'data_preprocessor': None}) for member in members]
        self.members: Any = nn.ModuleList(built)
        self.train_cfg, self.test_cfg = None, ConfigDict(test_cfg or dict(mode='whole'))
        outputs = [member.out_channels for member in self.members]
        if len(set(outputs)) > 1:
            raise UserError(f'EnsembleSegmentor: members have {outputs} outputs, expected the same')
        first: Any = self.members[0]
        self.align_corners = first.align_corners
        self.num_classes, self.out_channels = first.num_classes, first.out_channels

    @property
    def backbone(self) -> nn.Module:
        """Backbone of the first member, which defines the bands."""
        return self.members[0].backbone

    @property
    def decode_head(self) -> nn.Module:
        """Head of the first member, which defines the classes and the threshold."""
        return self.members[0].decode_head

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Return the logits of the mean probabilities, (N, out_channels, H, W)."""
        logits = [member.encode_decode(inputs, batch_img_metas) for member in self.members]
        if self.out_channels == 1:
            return torch.logit(torch.stack([x.sigmoid() for x in logits]).mean(0), eps=1e-6)
        mean = torch.stack([x.softmax(dim=1) for x in logits]).mean(0)
        return mean.clamp(min=1e-12).log()

    def _forward(self, inputs: Tensor, data_samples: Any = None) -> tuple[Any, ...]:
        """Return the raw outputs of all members, from which costs are counted."""
        return tuple(member._forward(inputs, data_samples) for member in self.members)

    def loss(self, inputs: Tensor, data_samples: list) -> NoReturn:
        """Refuse to train.

        Raises:
            UserError: Always.
        """
        raise UserError('an ensemble cannot be trained: train its members')
