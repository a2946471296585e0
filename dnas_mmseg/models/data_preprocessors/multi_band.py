"""Normalisation of images with any number of bands and any dtype."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from mmseg.models import SegDataPreProcessor
from mmseg.registry import MODELS

from dnas_mmseg.errors import UserError


@MODELS.register_module()
class MultiBandDataPreProcessor(SegDataPreProcessor):
    """Normalise, pad and stack images with any number of bands.

    Non-finite samples become 0 after normalisation, which is the mean of their band.

    Args:
        mean: Mean of each band, in units of the stored samples (0-255 for 8-bit images).
        std: Standard deviation of each band, in the same units.
        **kwargs: Arguments of :class:`mmseg.models.SegDataPreProcessor` except the conversion of
            colour channels: bands are selected and ordered by name (see ``SelectBands``).

    Example:
        >>> preprocessor = MultiBandDataPreProcessor(mean=[100.0] * 4, std=[50.0] * 4)
        >>> preprocessor(dict(inputs=[torch.full((4, 2, 2), 150)]))['inputs'][0, :, 0, 0]
        tensor([1., 1., 1., 1.])
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], **kwargs) -> None:
        if kwargs.pop('bgr_to_rgb', False) or kwargs.pop('rgb_to_bgr', False):
            raise UserError(
                'MultiBandDataPreProcessor does not convert channels, since bands are ordered by '
                'name: remove bgr_to_rgb and rgb_to_bgr, which are perhaps inherited'
            )
        if kwargs.get('size') is None:
            kwargs.setdefault('size_divisor', 1)  # pad to the largest image of the batch
        super().__init__(**kwargs)
        if len(mean) != len(std):
            raise UserError(
                f'mean has {len(mean)} bands, std has {len(std)}: they must be of equal length'
            )
        if min(std) <= 0:
            raise UserError(
                f'std = {list(std)}: standard deviations must be positive. A band with 0 is '
                'constant in the training tiles: leave it out (`use_bands`), or set its std to 1'
            )
        self._enable_normalize = False  # the stock code supports 1 or 3 bands only
        self.register_buffer('mean', torch.tensor(mean).float().view(-1, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).float().view(-1, 1, 1), persistent=False)
        self._range_checked = False

    def forward(self, data: dict, training: bool = False) -> dict:
        """Normalise, stack and pad the images of a batch.

        Args:
            data: Batch with ``inputs``, a list of tensors (bands, H, W) of any real dtype, and
                ``data_samples``.
            training: Whether to pad the labels, too.

        Returns:
            Batch with the same keys; ``inputs`` is float (N, bands, H, W).

        Raises:
            UserError: The number of bands of an image differs from the length of ``mean``.
        """
        data = dict(self.cast_data(data))
        for image, name in zip(data['inputs'], _names(data), strict=True):
            if image.shape[0] != len(self.mean):
                raise UserError(
                    f'{name} has {image.shape[0]} bands, but mean and std of the data '
                    f'preprocessor have {len(self.mean)}: correct them, or add SelectBands to the '
                    'pipeline'
                )
        if not self._range_checked:
            self._check_range(data['inputs'])
        data['inputs'] = [self.normalise(image) for image in data['inputs']]
        return super().forward(data, training)

    def normalise(self, image: torch.Tensor) -> torch.Tensor:
        """Subtract the mean and divide by std, (..., bands, H, W); non-finite samples become 0."""
        normalised = (image.float() - self.mean) / self.std
        if image.is_floating_point():
            return torch.nan_to_num(normalised, nan=0.0, posinf=0.0, neginf=0.0)
        return normalised

    def _check_range(self, images: list[torch.Tensor]) -> None:
        """Warn once if images and statistics have different bit depths.

        The check is repeated until an image is bright enough to decide.
        """
        mean, expected = float(self.mean.max()), float((self.mean + 6 * self.std).max())
        for image in images:
            peak = float(torch.nan_to_num(image.float(), posinf=0.0).max())
            if expected < 2048 and peak > 1.2 * max(expected, 255):
                self._warn_of_range(image, peak, 'far above', '8-bit')
            elif image.dtype == torch.uint8 and mean > 255:
                self._warn_of_range(image, peak, 'far below', '16-bit')
            elif image.is_floating_point() and 0 < peak <= 1.5 and mean > 15:
                self._warn_of_range(image, peak, 'far below', 'integer')
            self._range_checked |= peak >= mean

    def _warn_of_range(self, image: torch.Tensor, peak: float, where: str, kind: str) -> None:
        if self._range_checked:
            return
        self._range_checked = True
        warnings.warn(
            f'the samples ({str(image.dtype).removeprefix("torch.")}, up to {peak:g}) are '
            f'{where} mean {self.mean.flatten().tolist()} and std {self.std.flatten().tolist()}, '
            f'which look like {kind} statistics: `dnas check CONFIG` computes those of the tiles',
            stacklevel=2,
        )


def _names(data: dict) -> list[str]:
    samples = data.get('data_samples') or [None] * len(data['inputs'])
    return [
        (sample.metainfo.get('img_path') if sample is not None else None) or 'the image'
        for sample in samples
    ]
