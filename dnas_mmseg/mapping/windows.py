"""Window models: a common interface of mmseg segmentors and exported models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, get_args

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
"""Multiple to which windows are padded for networks that restrict input sizes. It is the largest
stride of common backbones; a smaller one would fail for them, a larger one would waste time."""


class Normalisation(NamedTuple):
    """Mean and standard deviation of each input band, float64 (bands,)."""

    mean: np.ndarray
    std: np.ndarray


class WindowModel(Protocol):
    """Interface of models from samples to logits.

    Attributes:
        dataset_meta: Classes, palette and bands.
        num_bands: Number of input bands; None if unknown.
        threshold: Threshold of a binary head, which has one logit: pixels above this probability
            belong to the second class. None for heads with one logit per class.
        normalisation: Statistics of the training tiles, with which scenes are compared; None if
            unknown.
    """

    dataset_meta: dict[str, Any]
    num_bands: int | None
    threshold: float | None
    normalisation: Normalisation | None

    def logits(self, images: list[Tensor]) -> np.ndarray:
        """Predict the logits of windows of one size.

        Args:
            images: Samples as stored, (bands, H, W) each.

        Returns:
            Logits, float32 (N, classes, H, W), or (N, 1, H, W) of a binary head.
        """


class SegmentorWindows:
    """Wrap an mmseg segmentor as a window model.

    Args:
        model: Segmentor in evaluation mode.
        precision: Precision of inference; other values than float32 use torch's autocast.

    Raises:
        UserError: The precision is not supported.
    """

    def __init__(self, model: BaseSegmentor, precision: Precision = 'float32') -> None:
        if precision not in get_args(Precision):
            raise UserError(f'precision {precision!r}: choose {", ".join(get_args(Precision))}')
        self._model, self._precision = model, getattr(torch, precision)
        self.dataset_meta = getattr(model, 'dataset_meta', {})
        self.normalisation = _get_normalisation(model.data_preprocessor)
        self.num_bands = None if self.normalisation is None else len(self.normalisation.mean)
        self.threshold = binary_threshold(model)
        self.is_on_gpu = any(p.device.type != 'cpu' for p in model.parameters())
        self._multiples: dict[tuple[int, int], int] = {}

    @torch.no_grad()
    def logits(self, images: list[Tensor]) -> np.ndarray:
        """Predict windows of one size; see :class:`WindowModel`."""
        height, width = images[0].shape[1:]
        size = _smallest_alike(height), _smallest_alike(width)
        if size not in self._multiples:
            self._multiples[size] = 1 if self._supports(images[0], size) else _STRIDE
        return self._run(images, self._multiples[size])

    def _supports(self, image: Tensor, size: tuple[int, int]) -> bool:
        """Return whether the network supports a size, tested with zeros.

        Some networks, e.g. U-Nets, support only multiples of their stride; others, e.g. SegFormer,
        no side that is smaller than their largest kernel.
        """
        if size == (_STRIDE, _STRIDE):
            return True
        try:
            self._run([image.new_zeros(len(image), *size)], 1)
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
        # Stock preprocessors pass non-finite samples; after normalisation, 0 is the band's mean.
        inputs = torch.nan_to_num(inputs, nan=0.0, posinf=0.0, neginf=0.0)
        padding = [-side % multiple for side in inputs.shape[2:]]
        inputs = F.pad(inputs, (0, padding[1], 0, padding[0]))
        metas = [dict(**shape, pad_shape=tuple(inputs.shape[2:]))] * len(images)
        reduced = self._precision != torch.float32
        with torch.autocast(inputs.device.type, self._precision, enabled=reduced):
            logits = self._model.encode_decode(inputs, metas)
        return logits[:, :, :height, :width].float().cpu().numpy()


def _smallest_alike(side: int) -> int:
    """Return the smallest side that networks treat like this one.

    It has the same remainder by the usual stride; sides below the stride are only like themselves.
    """
    return side if side < _STRIDE else _STRIDE + side % _STRIDE


def _get_normalisation(preprocessor: nn.Module) -> Normalisation | None:
    """Return the statistics of a data preprocessor; None if it does not normalise."""
    mean, std = (getattr(preprocessor, name, None) for name in ('mean', 'std'))
    if mean is None or std is None:
        return None
    # Stock preprocessors normalise after the conversion from BGR to RGB, or back.
    names = '_channel_conversion', 'channel_conversion'  # of the onedl and the openmmlab line
    is_converted = any(getattr(preprocessor, name, False) for name in names)
    step = -1 if is_converted and len(mean) == 3 else 1
    mean, std = (v.flatten().cpu().numpy().astype(np.float64)[::step] for v in (mean, std))
    return Normalisation(mean, std)


def binary_threshold(model: BaseSegmentor) -> float | None:
    """Return the threshold of a binary head (``out_channels=1``), or None for other heads."""
    head: Any = getattr(model, 'decode_head', None)
    head = head[-1] if isinstance(head, nn.ModuleList) else head
    return head.threshold if getattr(head, 'out_channels', None) == 1 else None


def is_hardware_error(error: Exception) -> bool:
    """Return whether an error of a network is of memory or the GPU, and not of its input."""
    text = str(error).lower()
    return any(word in text for word in ('memory', 'cuda', 'cudnn', 'cublas', 'miopen'))


def average_flips(model: WindowModel, images: list[Tensor]) -> np.ndarray:
    """Return the logits of windows, averaged over four flips; see :class:`WindowModel`."""
    total: Any = 0.0
    for axes in ((), (1,), (2,), (1, 2)):
        logits = model.logits([image.flip(axes) for image in images])
        total = total + np.flip(logits, tuple(axis + 1 for axis in axes))
    return total / 4
