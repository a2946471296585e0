"""What maps a window of a scene: a segmentor of mmseg, or an exported one."""

from __future__ import annotations

from typing import Literal, Protocol, get_args

import numpy as np
import torch
from torch import Tensor, nn

from dnas_mmseg.errors import UserError

Precision = Literal['float32', 'bfloat16', 'float16']


class WindowModel(Protocol):
    """From samples to logits.

    Attributes:
        num_bands: Bands it takes; None where that is not known.
    """

    num_bands: int | None

    def logits(self, images: list[Tensor]) -> np.ndarray:
        """Map windows of one size.

        Args:
            images: Samples as they are stored, (bands, H, W) each.

        Returns:
            float32 (N, classes, H, W).
        """


class SegmentorWindows:
    """A segmentor in evaluation mode, of any kind that mmseg has.

    Args:
        model: The segmentor.
        precision: What convolutions are computed in; anything but float32 by torch's autocast.

    Raises:
        UserError: There is no such precision.
    """

    def __init__(self, model: nn.Module, precision: Precision = 'float32') -> None:
        if precision not in get_args(Precision):
            raise UserError(f'precision {precision!r}: there are {", ".join(get_args(Precision))}')
        self._model, self._precision = model, getattr(torch, precision)
        mean = getattr(model.data_preprocessor, 'mean', None)
        self.num_bands = None if mean is None else mean.numel()

    @torch.no_grad()
    def logits(self, images: list[Tensor]) -> np.ndarray:
        """See :class:`WindowModel`."""
        inputs = self._model.data_preprocessor({'inputs': images})['inputs']
        height, width = images[0].shape[1:]
        shape = dict(img_shape=(height, width), ori_shape=(height, width))
        metas = [dict(**shape, pad_shape=tuple(inputs.shape[2:]))] * len(images)
        reduced = self._precision != torch.float32
        with torch.autocast(inputs.device.type, self._precision, enabled=reduced):
            logits = self._model.encode_decode(inputs, metas)
        return logits[:, :, :height, :width].float().cpu().numpy()


def logits_of_flips(model: WindowModel, images: list[Tensor]) -> np.ndarray:
    """The mean logits of four flips of the windows; see :class:`WindowModel`."""
    total = 0.0
    for axes in ((), (1,), (2,), (1, 2)):
        logits = model.logits([image.flip(axes) for image in images])
        total = total + np.flip(logits, [axis + 1 for axis in axes])
    return total / 4
