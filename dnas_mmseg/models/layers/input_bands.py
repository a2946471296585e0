"""Check that images have as many bands as a backbone was built for."""

from __future__ import annotations

from torch import Tensor, nn

from dnas_mmseg.errors import UserError


def require_bands(backbone: nn.Module, x: Tensor) -> None:
    """Refuse images (N, bands, H, W) with another number of bands than ``backbone.in_channels``.

    Raises:
        UserError: The number of bands differs; the message says what can be done.
    """
    if x.shape[1] != backbone.in_channels:
        raise UserError(
            f'the image has {x.shape[1]} bands, but this {type(backbone).__name__} was built for '
            f'in_channels={backbone.in_channels}; select bands by SelectBands or build it again'
        )
