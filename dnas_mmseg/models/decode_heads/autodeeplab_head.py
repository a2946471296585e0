"""The decoder of Auto-DeepLab's published networks, DeepLabv3+'s with full convolutions."""

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
    """Atrous pyramid of the coarse feature, joined with the fine one, then two 3x3 convolutions.

    Args:
        in_channels: Numbers of channels of the low-level and of the last feature.
        channels: Number of channels of the pyramid's branches and of both convolutions.
        rates: Rates of the pyramid's 3x3 convolutions; published for an output stride of 8.
        low_level_channels: Number of channels to which the low-level feature is reduced.
        in_index: Indices of the backbone's outputs to read.
        norm_cfg: Config of the normalisation layers.
        align_corners: Whether every resizing aligns corners.
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
        """Map the two features to logits at the finer one's size."""
        fine, coarse = self._transform_inputs(inputs)
        x = self.project(torch.cat([branch(coarse) for branch in self.pyramid], 1))
        x = resize(x, fine.shape[2:], mode='bilinear', align_corners=self.align_corners)
        return self.cls_seg(self.convs(torch.cat([x, self.low_level(fine)], 1)))
