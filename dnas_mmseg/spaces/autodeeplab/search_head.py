"""Head of the Auto-DeepLab supernet: an atrous pyramid at every stride."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn

from dnas_mmseg.models.layers.operation import (
    GlobalAveragePool,
    conv_norm,
    conv_norm_relu,
    sum_tensors,
)


@MODELS.register_module()
class AutoDeepLabSearchHead(BaseDecodeHead):
    """Pyramids at all strides, projected to a common width, upsampled and summed.

    A pyramid has three branches with the width of its input: a 1x1 convolution, an atrous 3x3
    convolution that reaches 96 pixels of the image, and image pooling.

    Source: Liu et al., CVPR 2019, section 4.3.

    Args:
        in_channels: Numbers of channels of the inputs, finest first.
        channels: Number of channels of the sum.
        rates: Rates of the 3x3 convolutions, 96 / stride.
        in_index: Indices of the backbone's outputs to read; all by default.
        norm_cfg: Config of the normalisation layers.
        align_corners: Whether every resizing aligns corners.
        **kwargs: Arguments of :class:`mmseg.models.decode_heads.decode_head.BaseDecodeHead`.
    """

    takes_several_inputs = True

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int = 40,
        *,
        rates: Sequence[int] = (24, 12, 6, 3),
        in_index: Sequence[int] | None = None,
        norm_cfg: dict = dict(type='BN', eps=1e-3),  # noqa: B006
        align_corners: bool = True,
        **kwargs,
    ) -> None:
        super().__init__(
            in_channels,
            channels,
            in_index=list(range(len(in_channels))) if in_index is None else in_index,
            input_transform='multiple_select',
            norm_cfg=norm_cfg,
            align_corners=align_corners,
            **kwargs,
        )
        layer = partial(conv_norm_relu, norm_cfg=norm_cfg)
        self.pyramids = nn.ModuleList(
            nn.ModuleList(
                [
                    layer(width, width, 1),
                    layer(width, width, 3, dilation=rate),
                    GlobalAveragePool(width, width, norm_cfg),
                ]
            )
            for width, rate in zip(self.in_channels, rates, strict=True)
        )
        self.projections = nn.ModuleList(
            nn.Sequential(*conv_norm(3 * width, channels, 1, norm_cfg))
            for width in self.in_channels
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Map feature maps (N, C_i, H_i, W_i) to logits (N, num_classes, H_0, W_0)."""
        inputs = self._transform_inputs(inputs)
        size = inputs[0].shape[2:]
        projected = [
            project(torch.cat([branch(x) for branch in pyramid.children()], 1))
            for x, pyramid, project in zip(inputs, self.pyramids, self.projections, strict=True)
        ]
        return self.cls_seg(
            sum_tensors(
                resize(x, size, mode='bilinear', align_corners=self.align_corners)
                for x in projected
            )
        )
