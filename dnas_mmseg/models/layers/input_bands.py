"""Input bands of a backbone: their number, and kernels for other ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from dnas_mmseg.errors import UserError


def require_bands(backbone: nn.Module, x: Tensor) -> None:
    """Require that images (N, bands, H, W) have ``backbone.in_channels`` bands.

    Raises:
        UserError: The number of bands differs.
    """
    if x.shape[1] != backbone.in_channels:
        raise UserError(
            f'the image has {x.shape[1]} bands, but {type(backbone).__name__} has '
            f'in_channels={backbone.in_channels}: select bands with SelectBands or change '
            'in_channels'
        )


def count_input_bands(backbone: nn.Module) -> int:
    """Return the number of bands that any backbone takes: those of its first convolution."""
    return next(m for m in backbone.modules() if isinstance(m, nn.Conv2d)).in_channels


def adapt_input_conv(weight: Tensor, source_bands: Sequence[str], bands: Sequence[str]) -> Tensor:
    """Return a convolution's kernels for other input bands.

    A band that the checkpoint knows by name keeps its kernels, to the bit. Any other band gets the
    mean of the known ones, which is logged: a new band starts by seeing structure, not noise.

    Args:
        weight: Kernels of the checkpoint, (out_channels, len(source_bands), kH, kW).
        source_bands: Names of the checkpoint's bands, in its order.
        bands: Names of the wanted bands, in the input's order.

    Returns:
        Kernels for the wanted bands, (out_channels, len(bands), kH, kW).
    """
    mean = weight.mean(1)
    places = {name: place for place, name in enumerate(source_bands)}
    new = [band for band in bands if band not in places]
    if new:
        print_log(
            f'bands without pretrained kernels: {", ".join(new)}; they start from the mean of '
            f'those of {", ".join(source_bands)}',
            logger='current',
        )
    return torch.stack([weight[:, places[b]] if b in places else mean for b in bands], dim=1)
