"""Number of input bands of a backbone."""

from __future__ import annotations

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
