"""False-colour rendering of multi-band images, and colouring of class maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dnas_mmseg.bands import RGB

COLOUR_INFRARED = ('nir', 'red', 'green')


def display_bands(bands: Sequence[str], channels: int) -> tuple[int, int, int]:
    """Return the indices of the bands to display as red, green and blue.

    Prefers colour infrared (nir, red, green), then true colour, then the first three bands. With
    fewer than three bands, the first one is displayed in grey.

    Args:
        bands: Band names; empty if unknown.
        channels: Number of bands.

    Example:
        >>> display_bands(('blue', 'green', 'red', 'nir'), 4)
        (3, 2, 1)
    """
    bands = tuple(bands)
    for wanted in (COLOUR_INFRARED, RGB):
        if all(name in bands for name in wanted):
            red, green, blue = (bands.index(name) for name in wanted)
            return red, green, blue
    return (0, 1, 2) if channels >= 3 else (0, 0, 0)


def format_display_bands(bands: Sequence[str]) -> str:
    """Format the names of the displayed bands for a heading; empty without band names."""
    if not bands:
        return ''
    shown = dict.fromkeys(display_bands(bands, len(bands)))
    return f': {", ".join(bands[i] for i in shown)}'


def false_colour(
    image: np.ndarray, bands: Sequence[str] = (), percentiles: tuple[float, float] = (2, 98)
) -> np.ndarray:
    """Render an image with any number of bands and any dtype as RGB.

    Args:
        image: Image, (H, W, bands).
        bands: Band names, see :func:`display_bands`.
        percentiles: Percentiles of each displayed band that are mapped to black and white.

    Returns:
        RGB image, uint8 (H, W, 3). Pixels with a non-finite sample are black.

    Example:
        >>> image = np.random.default_rng(0).integers(0, 4096, (64, 64, 4)).astype(np.uint16)
        >>> false_colour(image, ('blue', 'green', 'red', 'nir')).shape
        (64, 64, 3)
    """
    rgb = image[..., display_bands(bands, image.shape[2])].astype(np.float32)
    valid = np.isfinite(rgb).all(2)
    if not valid.any():
        return np.zeros(rgb.shape, np.uint8)
    low, high = np.percentile(rgb[valid], percentiles, axis=0)
    rgb[~valid] = np.nan
    stretched = (rgb - low) / np.maximum(high - low, 1e-6)
    return (np.nan_to_num(stretched).clip(0, 1) * 255).round().astype(np.uint8)


def apply_palette(ids: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Colour train ids (H, W) by a palette, uint8 (H, W, 3); ids beyond it are black."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = palette
    return table[ids]
