"""Decoder of the Auto-DeepLab networks: DeepLabv3+ with full instead of separable convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn

from dnas_mmseg.models.layers.operation import GlobalAveragePool, conv_norm_relu


@MODELS.register_module()
class AutoDeepLabHead(BaseDecodeHead):
    """Apply ASPP to the coarse feature, concatenate the fine one, and two 3x3 convolutions.

    The decoder is that of DeepLabv3+ (Chen et al., 2018), which Auto-DeepLab (Liu et al., 2019)
    uses after the searched backbone.

    Args:
        in_channels: Channels of the low-level feature and of the last feature.
        channels: Channels of the ASPP branches and of both convolutions.
        rates: Dilation rates of the 3x3 convolutions of ASPP; the defaults are for output stride 8.
        low_level_channels: Channels of the low-level feature after its 1x1 convolution.
        in_index: Indices of the two backbone outputs.
        norm_cfg: Config of the normalisation layers.
        align_corners: ``align_corners`` of all interpolations.
        **kwargs: Arguments of :class:`mmseg.models.decode_heads.decode_head.BaseDecodeHead`.
    """

    takes_several_inputs = True

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int = 256,
        *,
        rates: Sequence[int] = (12, 24, 36),
        low_level_channels: int = 48,
        in_index: Sequence[int] = (0, 1),
        norm_cfg: dict = dict(type='BN', eps=1e-3),  # noqa: B006
        align_corners: bool = True,
        **kwargs,
    ) -> None:
        super().__init__(
            in_channels,
            channels,
            in_index=in_index,
            input_transform='multiple_select',
            norm_cfg=norm_cfg,
            align_corners=align_corners,
            **kwargs,
        )
        fine, coarse = self.in_channels
        layer = partial(conv_norm_relu, norm_cfg=norm_cfg)
        self.pyramid = nn.ModuleList(
            [
                layer(coarse, channels, 1),
                *(layer(coarse, channels, 3, dilation=rate) for rate in rates),
                GlobalAveragePool(coarse, channels, norm_cfg),
            ]
        )
        self.project = layer(len(self.pyramid) * channels, channels, 1)
        self.low_level = layer(fine, low_level_channels, 1)
        self.convs = nn.Sequential(
            layer(channels + low_level_channels, channels, 3), layer(channels, channels, 3)
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Map the two features to logits, (N, classes, h, w) at the size of the finer one."""
        fine, coarse = self._transform_inputs(inputs)
        x = self.project(torch.cat([branch(coarse) for branch in self.pyramid], 1))
        x = resize(x, fine.shape[2:], mode='bilinear', align_corners=self.align_corners)
        return self.cls_seg(self.convs(torch.cat([x, self.low_level(fine)], 1)))
