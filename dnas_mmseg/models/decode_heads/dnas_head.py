"""Decode head of DNAS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn

from dnas_mmseg.models.layers.operation import conv_norm
from dnas_mmseg.models.layers.upsampled_conv import convolve_upsampled, in_published_order


@MODELS.register_module()
class DNASHead(BaseDecodeHead):
    """Resize the inputs to the finest one, concatenate them and apply two 3x3 convolutions.

    The published head has no nonlinearity: in evaluation mode it is a linear map.

    Args:
        in_channels: Numbers of channels of the inputs, finest first.
        channels: Number of channels of both convolutions.
        num_classes: Number of classes.
        in_index: Indices of the backbone outputs to use; defaults to all.
        dropout_ratios: Rates of elementwise dropout after the first and the second convolution.
        norm_cfg: Config of the normalisation layers.
        act_cfg: Config of the activation after each convolution, e.g. ``dict(type='ReLU')``; None
            as published.
        align_corners: ``align_corners`` of all interpolations, including that of the logits.
        **kwargs: Arguments of :class:`mmseg.models.decode_heads.decode_head.BaseDecodeHead`.
    """

    # Replaced by nn.Identity in deployed form.
    convs: Any
    conv_seg: Any

    takes_several_inputs = True

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
        self._deployed: _LinearHead | None = None
        # The base class would drop whole channels here; DNAS drops single elements.
        self.dropout = nn.Dropout(dropout_ratios[1])

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Map feature maps (N, C_i, H_i, W_i) to logits (N, num_classes, H_0, W_0)."""
        inputs = [inputs[i] for i in self.in_index]
        if self._deployed is not None:
            return self._deployed.finish(self._convolve(inputs, self._deployed.conv))
        (conv, *rest), *others = self.convs
        x = self._convolve(inputs, conv)
        for layer in (*rest, *others):
            x = layer(x)
        return self.cls_seg(x)

    def _convolve(self, inputs: Sequence[Tensor], conv: nn.Conv2d) -> Tensor:
        """Apply ``conv`` to the concatenated inputs, resized to the size of the first one.

        Much coarser inputs are convolved before resizing, except within
        :func:`dnas_mmseg.models.layers.upsampled_conv.published_order`. Otherwise a training step
        of L=14 takes 1.26 times as long (``benchmarks/head.py``).
        """
        height, width = inputs[0].shape[2:]
        size = (height, width)
        near, near_weights, total = [], [], None
        weights = conv.weight.split([x.shape[1] for x in inputs], dim=1)
        for x, weight in zip(inputs, weights, strict=True):
            if not in_published_order() and size[0] >= 3 * x.shape[2] and size[1] >= 3 * x.shape[3]:
                term = convolve_upsampled(x, size, weight, align_corners=self.align_corners)
                total = term if total is None else total + term
            else:
                near.append(resize(x, size, mode='bilinear', align_corners=self.align_corners))
                near_weights.append(weight)
        if total is None:
            return conv(torch.cat(near, 1))
        return total + F.conv2d(
            torch.cat(near, 1), torch.cat(near_weights, 1), conv.bias, padding=1
        )

    def become_deployed(self) -> None:
        """Merge a linear head into one convolution with few output channels.

        Called by :func:`dnas_mmseg.models.switch_to_deploy` after folding batch norms. Heads with
        an activation or another normalisation do not change.
        """
        if self._deployed is None and self.act_cfg is None:
            layers = self.convs[0], self.convs[2]
            if all(isinstance(norm, nn.Identity) for _, norm in layers):
                first, second = (conv for conv, _ in layers)
                self._deployed = _LinearHead(first, second, self.conv_seg)
                self.convs = self.conv_seg = nn.Identity()


class _LinearHead(nn.Module):
    """Both convolutions and the classifier, merged into one convolution and nine shifts.

    The second convolution and the classifier form one 3x3 convolution to the classes, a sum of nine
    shifted 1x1 convolutions. These are merged into the first convolution, which then has nine
    outputs per class. The shifts are zero-padded like the second convolution, so the result is
    exact.

    Args:
        first, second: 3x3 convolutions, with biases.
        classes: Classifier, a 1x1 convolution.
    """

    bias: Tensor

    def __init__(self, first: nn.Conv2d, second: nn.Conv2d, classes: nn.Conv2d) -> None:
        super().__init__()
        with torch.no_grad():
            to_classes = classes.weight.double()[:, :, 0, 0]
            kernel = torch.einsum('ko,oixy->xyki', to_classes, second.weight.double())
            taps = kernel.reshape(-1, second.in_channels)
            weight = torch.einsum('ti,ijxy->tjxy', taps, first.weight.double())
            bias = taps @ first.get_parameter('bias').double()
            spare = -len(bias) % 16  # CPU kernels process 16 channels at once
            like: dict[str, Any] = dict(device=first.weight.device, dtype=first.weight.dtype)
            self.conv = nn.Conv2d(first.in_channels, len(bias) + spare, 3, padding=1, **like)
            self.conv.weight.copy_(F.pad(weight, (0, 0, 0, 0, 0, 0, 0, spare)))
            self.conv.get_parameter('bias').copy_(F.pad(bias, (0, spare)))
            last = to_classes @ second.get_parameter('bias').double()
            last = last + classes.get_parameter('bias').double()
            self.register_buffer('bias', last.to(**like))
        # The type hints of torch lack memory_format.
        self.conv = self.conv.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def finish(self, y: Tensor) -> Tensor:
        """Shift and sum the output of ``conv``, (N, >= 9 * classes, H, W), to logits."""
        count = len(self.bias)
        height, width = y.shape[2:]
        padded = F.pad(y[:, : 9 * count], (1, 1, 1, 1))
        total = self.bias.reshape(1, -1, 1, 1)
        for tap in range(9):
            row, column = divmod(tap, 3)
            part = padded[:, tap * count : (tap + 1) * count]
            total = total + part[:, :, row : row + height, column : column + width]
        return total
