"""Normalisation of images of any number of bands and any sample type."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from mmseg.models import SegDataPreProcessor
from mmseg.registry import MODELS

from dnas_mmseg.errors import UserError


@MODELS.register_module()
class MultiBandDataPreProcessor(SegDataPreProcessor):
    """:class:`SegDataPreProcessor` for any number of bands.

    Missing samples (NaN, infinite) become 0 after normalisation, the mean of their band.

    Args:
        mean: Mean of each band, in the units of the stored samples (0-255 for 8-bit images).
        std: Standard deviation of each band, in the same units.
        **kwargs: Arguments of :class:`mmseg.models.SegDataPreProcessor`; there is no conversion
            between colour orders, bands have names (see ``SelectBands``).
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], **kwargs) -> None:
        if kwargs.get('size') is None:
            kwargs.setdefault('size_divisor', 1)  # pad to the largest of the batch, no further
        super().__init__(**kwargs)
        if len(mean) != len(std):
            raise UserError(f'mean has {len(mean)} bands, std has {len(std)}')
        if min(std) <= 0:
            raise UserError(f'std = {list(std)}: every band needs a positive one')
        self._enable_normalize = False  # done here: stock code allows 1 or 3 bands only
        self.register_buffer('mean', torch.tensor(mean).float().view(-1, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).float().view(-1, 1, 1), persistent=False)
        self._range_checked = False

    def forward(self, data: dict, training: bool = False) -> dict:
        """Normalise, stack and pad the images of a batch.

        Args:
            data: Batch with ``inputs``, a list of (bands, H, W) tensors of any real type, and
                ``data_samples``.
            training: Whether labels are padded along.

        Returns:
            Batch with the same keys; ``inputs`` is float (N, bands, H, W).

        Raises:
            UserError: An image has another number of bands than ``mean``.
        """
        data = dict(self.cast_data(data))
        for image, name in zip(data['inputs'], _names(data), strict=True):
            if image.shape[0] != len(self.mean):
                raise UserError(
                    f'{name} has {image.shape[0]} bands, but mean and std of the data '
                    f'preprocessor are given for {len(self.mean)}: correct them, or choose bands '
                    'by SelectBands in the pipeline'
                )
        if not self._range_checked:
            self._check_range(data['inputs'])
        data['inputs'] = [self.normalise(image) for image in data['inputs']]
        return super().forward(data, training)

    def normalise(self, image: torch.Tensor) -> torch.Tensor:
        """Return samples (..., bands, H, W), less the mean, by std; missing ones become 0."""
        normalised = (image.float() - self.mean) / self.std
        if image.is_floating_point():
            return torch.nan_to_num(normalised, nan=0.0, posinf=0.0, neginf=0.0)
        return normalised

    def _check_range(self, images: list[torch.Tensor]) -> None:
        """Warn once where images and statistics are of different bit depths.

        Dark images tell nothing; the check is repeated until an image tells.
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
            f'the samples ({str(image.dtype).removeprefix("torch.")}, up to {peak:g}) lie '
            f'{where} mean {self.mean.flatten().tolist()} and std {self.std.flatten().tolist()}, '
            f'which look like {kind} statistics. `dnas check '
            'CONFIG` prints the right ones.',
            stacklevel=2,
        )


def _names(data: dict) -> list[str]:
    samples = data.get('data_samples') or [None] * len(data['inputs'])
    return [
        (sample.metainfo.get('img_path') if sample is not None else None) or 'the image'
        for sample in samples
    ]
