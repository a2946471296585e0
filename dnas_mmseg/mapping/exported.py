"""Common interface of exported models, independent of the inference engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from dnas_mmseg.errors import UserError

META = 'dnas_mmseg'
"""Key of the metadata of an exported model: classes, palette, bands, threshold."""

INPUT, OUTPUT = 'samples', 'logits'
"""Names of the graph's input and output."""


class ExportedModel(ABC):
    """Exported model with a fixed window; a :class:`dnas_mmseg.mapping.windows.WindowModel`.

    Args:
        meta: Metadata of the file.
        num_bands: Number of input bands.
        window: Side of the input windows, in pixels.

    Attributes:
        dataset_meta: Classes, palette, bands and further metadata of the file.
        num_bands: Number of input bands.
        threshold: Threshold of a binary head, see :class:`dnas_mmseg.mapping.windows.WindowModel`.
        window: Side of the input windows, in pixels. Smaller windows are padded with the mean of
            each band.
    """

    normalisation = None

    def __init__(self, meta: Mapping[str, Any], num_bands: int, window: int) -> None:
        self.dataset_meta = dict(meta)
        self.threshold = self.dataset_meta.pop('threshold', None)
        self.num_bands, self.window = num_bands, window

    @abstractmethod
    def run(self, samples: np.ndarray) -> np.ndarray:
        """Predict windows of the model's size.

        Args:
            samples: Samples as stored, float32 (N, bands, window, window); NaN marks missing ones.

        Returns:
            Logits, float32 (N, classes, window, window).
        """

    def logits(self, images: list[Tensor]) -> np.ndarray:
        """Predict windows of one size; see :class:`dnas_mmseg.mapping.windows.WindowModel`.

        Raises:
            UserError: The windows are larger than the model's window.
        """
        height, width = images[0].shape[1:]
        if max(height, width) > self.window:
            raise UserError(
                f'windows are {height} x {width}, but the model was exported for {self.window} x '
                f'{self.window}: set --window {self.window}, or export it again'
            )
        shape = (len(images), self.num_bands, self.window, self.window)
        samples = np.full(shape, np.nan, np.float32)
        for place, image in zip(samples, images, strict=True):
            place[:, :height, :width] = image.numpy()
        return self.run(samples)[:, :, :height, :width]
