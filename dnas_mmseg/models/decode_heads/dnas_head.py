"""The decode head of DNAS."""

from __future__ import annotations

from collections.abc import Sequence

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..operations import conv_norm


@MODELS.register_module()
class DNASHead(BaseDecodeHead):
    """Resize the inputs to the finest, concatenate, two 3x3 convolutions, classify.

    As published there is no nonlinearity in it: in evaluation it is one linear map.

    Args:
        in_channels: Channels of each input, finest first.
        channels: Channels of both convolutions.
        num_classes: Number of classes.
        in_index: Which of the backbone's outputs to read; all by default.
        dropout_ratios: Of the elementwise dropout after the first and the second convolution.
        norm_cfg: Normalisation layer.
        act_cfg: Activation after each convolution. None is the published head;
            ``dict(type='ReLU')`` makes it a nonlinear one.
        align_corners: Of every resizing, the logits' to the label included.
        **kwargs: See :class:`mmseg.models.decode_heads.decode_head.BaseDecodeHead`.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int = 256,
        *,
        num_classes: int,
        in_index: Sequence[int] | None = None,
        dropout_ratios: tuple[float, float] = (0.5, 0.1),
        norm_cfg: dict = dict(type='BN'),  # noqa: B006
        act_cfg: dict | None = None,
        align_corners: bool = True,
        init_cfg: dict | None = None,
        **kwargs,
    ) -> None:
        super().__init__(
            in_channels,
            channels,
            num_classes=num_classes,
            in_index=list(range(len(in_channels))) if in_index is None else in_index,
            input_transform='resize_concat',
            dropout_ratio=0,
            norm_cfg=norm_cfg,
            act_cfg=act_cfg,
            align_corners=align_corners,
            init_cfg=init_cfg,
            **kwargs,
        )

        def layer(in_channels: int) -> nn.Sequential:
            activation = [] if act_cfg is None else [MODELS.build(act_cfg)]
            return nn.Sequential(*conv_norm(in_channels, channels, 3, norm_cfg), *activation)

        self.convs = nn.Sequential(
            layer(self.in_channels), nn.Dropout(dropout_ratios[0]), layer(channels)
        )
        # The base class would drop whole channels here; DNAS drops single elements.
        self.dropout = nn.Dropout(dropout_ratios[1])

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Map feature maps (N, C_i, H_i, W_i) to logits (N, num_classes, H_0, W_0)."""
        return self.cls_seg(self.convs(self._transform_inputs(inputs)))
