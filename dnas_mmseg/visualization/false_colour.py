"""Pictures of multi-band images and of class maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dnas_mmseg.bands import RGB

COLOUR_INFRARED = ('nir', 'red', 'green')


def display_bands(bands: Sequence[str], channels: int) -> tuple[int, int, int]:
    """Return the indices of the bands to show as red, green and blue.

    Colour infrared where the names allow it, else true colour, else the first three; a single band
    is shown in grey.
    """
    bands = tuple(bands)
    for wanted in (COLOUR_INFRARED, RGB):
        if all(name in bands for name in wanted):
            red, green, blue = (bands.index(name) for name in wanted)
            return red, green, blue
    return (0, 1, 2) if channels >= 3 else (0, 0, 0)


def format_display_bands(bands: Sequence[str]) -> str:
    """Return which bands :func:`false_colour` shows, for a heading; empty without names."""
    if not bands:
        return ''
    shown = dict.fromkeys(display_bands(bands, len(bands)))
    return f': {", ".join(bands[i] for i in shown)}'


def false_colour(
    image: np.ndarray, bands: Sequence[str] = (), percentiles: tuple[float, float] = (2, 98)
) -> np.ndarray:
    """Return an RGB picture of an image of any bands and type.

    Args:
        image: Image, (H, W, bands).
        bands: Names of its bands; see :func:`display_bands`.
        percentiles: Percentiles between which each band shown is stretched.

    Returns:
        Picture, uint8 (H, W, 3). Pixels with a sample that is not finite are black.
    """
    shown = image[..., display_bands(bands, image.shape[2])].astype(np.float32)
    recorded = np.isfinite(shown).all(2)
    if not recorded.any():
        return np.zeros(shown.shape, np.uint8)
    low, high = np.percentile(shown[recorded], percentiles, axis=0)
    shown[~recorded] = np.nan
    stretched = (shown - low) / np.maximum(high - low, 1e-6)
    return (np.nan_to_num(stretched).clip(0, 1) * 255).round().astype(np.uint8)


def apply_palette(ids: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Return train ids (H, W) in the palette's colours, uint8 (H, W, 3); no class is black."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = palette
    return table[ids]
