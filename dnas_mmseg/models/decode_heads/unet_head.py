"""Decoder of U-Net for any backbone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn

from dnas_mmseg.errors import UserError
from dnas_mmseg.models.layers.operation import Operation, conv_norm

_CHANNELS = (32, 32, 48, 64)
"""Default channels of the decoder's stages, finest first: narrow enough for a CPU."""


@MODELS.register_module()
class UNetHead(BaseDecodeHead):
    """Upsample the coarsest feature map stage by stage, with skip connections (U-Net).

    Each stage resizes its input to the next finer feature map (nearest neighbour), concatenates
    both and applies two 3x3 convolutions with normalisation and activation. Logits have the size of
    the finest feature map. Source: Ronneberger et al., MICCAI 2015 (arXiv 1505.04597); the form for
    pretrained encoders is that of segmentation_models.pytorch.

    Args:
        in_channels: Numbers of channels of the inputs, finest first, for example at strides 2, 4,
            8, 16 and 32; at least two.
        decoder_channels: Numbers of channels of the stages, finest first, one less than inputs.
            Defaults to 32, 32, 48, 64; networks with more outputs need an explicit value.
        num_classes: Number of classes.
        in_index: Indices of the backbone's outputs to read; all by default.
        dropout_ratio: Rate of the dropout before the classification.
        norm_cfg: Config of the normalisation layers.
        act_cfg: Config of the activations.
        align_corners: Whether resizing the logits to the label aligns corners.
        **kwargs: Arguments of :class:`mmseg.models.decode_heads.decode_head.BaseDecodeHead`.

    Raises:
        UserError: There are fewer than two inputs, or the numbers of stages and inputs differ.

    Example:
        >>> head = UNetHead([16, 24, 40], num_classes=5)
        >>> features = [torch.rand(1, c, s, s) for c, s in ((16, 32), (24, 16), (40, 8))]
        >>> tuple(head(features).shape)
        (1, 5, 32, 32)
    """

    takes_several_inputs = True

    def __init__(
        self,
        in_channels: Sequence[int],
        decoder_channels: Sequence[int] | None = None,
        *,
        num_classes: int,
        in_index: Sequence[int] | None = None,
        dropout_ratio: float = 0.1,
        norm_cfg: dict = dict(type='BN'),  # noqa: B006
        act_cfg: dict = dict(type='ReLU', inplace=True),  # noqa: B006
        align_corners: bool = False,
        init_cfg: dict | None = None,
        **kwargs,
    ) -> None:
        stages = len(in_channels) - 1
        channels = tuple(_CHANNELS[:stages] if decoder_channels is None else decoder_channels)
        if stages < 1 or len(channels) != stages:
            raise UserError(
                f'UNetHead: in_channels {tuple(in_channels)} are {stages + 1} inputs and '
                f'decoder_channels {channels} are {len(channels)} stages: it needs at least 2 '
                'inputs and one stage less. Let the backbone return several strides (out_indices)'
            )
        super().__init__(
            list(in_channels),
            channels[0],
            num_classes=num_classes,
            in_index=list(range(len(in_channels))) if in_index is None else in_index,
            input_transform='multiple_select',
            dropout_ratio=dropout_ratio,
            norm_cfg=norm_cfg,
            act_cfg=act_cfg,
            align_corners=align_corners,
            init_cfg=init_cfg,
            **kwargs,
        )

        def layer(before: int, after: int) -> Operation:
            return Operation(*conv_norm(before, after, 3, norm_cfg), MODELS.build(act_cfg), norm=1)

        # From the coarsest stage to the finest.
        below = [*channels[1:], in_channels[-1]]
        self.stages = nn.ModuleList(
            nn.Sequential(layer(below[i] + in_channels[i], channels[i]), layer(*(channels[i],) * 2))
            for i in reversed(range(stages))
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Map feature maps (N, C_i, H_i, W_i), finest first, to logits (N, num_classes, H_0, W_0).

        Raises:
            UserError: The feature maps do not become smaller: the encoder lacks a stride.
        """
        features = [inputs[i] for i in self.in_index]
        sizes = [tuple(x.shape[2:]) for x in features]
        if any(f[0] < c[0] or f[1] < c[1] for f, c in pairwise(sizes)):
            raise UserError(
                f'UNetHead reads feature maps finest first, but their sizes are {sizes}: order '
                'in_index from fine to coarse'
            )
        x = features[-1]
        for stage, skip in zip(self.stages, reversed(features[:-1]), strict=True):
            x = stage(torch.cat([resize(x, skip.shape[2:], mode='nearest'), skip], 1))
        return self.cls_seg(x)
