"""Models that map a window of a scene: a segmentor of mmseg, or an exported one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

import numpy as np
import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from dnas_mmseg.errors import UserError

if TYPE_CHECKING:
    from mmseg.models import BaseSegmentor

Precision = Literal['float32', 'bfloat16', 'float16']
_STRIDE = 32
"""Number of which networks of the usual depth need multiples as height and width."""


class WindowModel(Protocol):
    """Interface of a model from samples to logits.

    Attributes:
        dataset_meta: Classes, palette and bands.
        num_bands: Number of bands that it takes; None where that is not known.
        threshold: Threshold of a binary head, whose one logit is that of the second class: the
            probability above which a pixel is of it. None for a head with a logit per class.
    """

    dataset_meta: dict[str, Any]
    num_bands: int | None
    threshold: float | None

    def logits(self, images: list[Tensor]) -> np.ndarray:
        """Map windows of one size to logits.

        Args:
            images: Samples as they are stored, (bands, H, W) each.

        Returns:
            Logits, float32 (N, classes, H, W); (N, 1, H, W) of a binary head.
        """


class SegmentorWindows:
    """A segmentor in evaluation mode, of any kind that mmseg has.

    Args:
        model: Segmentor in evaluation mode.
        precision: Precision of convolutions; anything but float32 is done by torch's autocast.

    Raises:
        UserError: There is no such precision.
    """

    def __init__(self, model: BaseSegmentor, precision: Precision = 'float32') -> None:
        if precision not in get_args(Precision):
            raise UserError(f'precision {precision!r}: there are {", ".join(get_args(Precision))}')
        self._model, self._precision = model, getattr(torch, precision)
        self.dataset_meta = getattr(model, 'dataset_meta', {})
        mean = getattr(model.data_preprocessor, 'mean', None)
        self.num_bands = None if mean is None else mean.numel()
        self.threshold = binary_threshold(model)
        self._multiples: dict[tuple[int, int], int] = {}

    @torch.no_grad()
    def logits(self, images: list[Tensor]) -> np.ndarray:
        """Map windows as :class:`WindowModel` does."""
        height, width = images[0].shape[1:]
        size = (height, width)
        if size not in self._multiples:
            self._multiples[size] = 1 if self._takes(images[0]) else _STRIDE
        return self._run(images, self._multiples[size])

    def _takes(self, image: Tensor) -> bool:
        """Return whether the network takes windows of this size, asked with an empty one.

        Some networks, U-Nets for one, take multiples of their stride only.
        """
        if all(side % _STRIDE == 0 for side in image.shape[1:]):
            return True
        try:
            self._run([torch.zeros_like(image)], 1)
        except torch.OutOfMemoryError:
            raise
        except (AssertionError, RuntimeError):
            return False
        return True

    def _run(self, images: list[Tensor], multiple: int) -> np.ndarray:
        height, width = images[0].shape[1:]
        shape = dict(img_shape=(height, width), ori_shape=(height, width))
        samples = [SegDataSample(metainfo=shape) for _ in images]
        data = {'inputs': images, 'data_samples': samples}
        inputs = self._model.data_preprocessor(data)['inputs']
        # Stock preprocessors hand on what is not finite; 0 is the bands' mean by now.
        inputs = torch.nan_to_num(inputs, nan=0.0, posinf=0.0, neginf=0.0)
        fill = [-side % multiple for side in inputs.shape[2:]]
        inputs = F.pad(inputs, (0, fill[1], 0, fill[0]))
        metas = [dict(**shape, pad_shape=tuple(inputs.shape[2:]))] * len(images)
        reduced = self._precision != torch.float32
        with torch.autocast(inputs.device.type, self._precision, enabled=reduced):
            logits = self._model.encode_decode(inputs, metas)
        return logits[:, :, :height, :width].float().cpu().numpy()


def binary_threshold(model: BaseSegmentor) -> float | None:
    """Return the threshold of a segmentor's binary head (mmseg: ``out_channels=1``), or None."""
    head: Any = getattr(model, 'decode_head', None)
    head = head[-1] if isinstance(head, nn.ModuleList) else head
    return head.threshold if getattr(head, 'out_channels', None) == 1 else None


def logits_of_flips(model: WindowModel, images: list[Tensor]) -> np.ndarray:
    """Return the mean logits of four flips of the windows; see :class:`WindowModel`."""
    total: Any = 0.0
    for axes in ((), (1,), (2,), (1, 2)):
        logits = model.logits([image.flip(axes) for image in images])
        total = total + np.flip(logits, tuple(axis + 1 for axis in axes))
    return total / 4
