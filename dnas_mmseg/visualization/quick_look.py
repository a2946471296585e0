"""Small picture of a scene and its map."""

from __future__ import annotations

import os
from collections.abc import Sequence

from dnas_mmseg.raster import Raster

from .comparison import save_pictures
from .false_colour import apply_palette, false_colour, format_display_bands


def save_quick_look(
    path: str | os.PathLike,
    scene: str | os.PathLike,
    class_map: str | os.PathLike,
    *,
    bands: Sequence[str],
    index: Sequence[int] | None = None,
    nodata: float | None = None,
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
    side: int = 1000,
) -> None:
    """Write a PNG with the scene in false colour beside its map, and a legend.

    Args:
        path: Path of the file.
        scene: Path of the scene, any raster.
        class_map: Path of its map of train ids.
        bands: Names of the bands that are read; empty where they are not known.
        index: Indices of these bands in the scene, from 0; all but alpha by default.
        nodata: Value that is nodata beside what the scene declares.
        classes, palette: Names and colours of the classes, in train-id order.
        side: Longer side of each picture, in pixels.
    """
    with Raster(scene, nodata) as raster:
        samples = raster.samples(bands=index, side=side)
    with Raster(class_map) as raster:
        ids = raster.samples(side=side).values[0]
    missing = samples.invalid
    # Where nothing was recorded must not stretch the colours.
    image = false_colour(samples.without_invalid().transpose(1, 2, 0), bands)
    if missing is not None:
        image[missing] = 255
    save_pictures(
        path,
        [[image, apply_palette(ids, palette)]],
        headings=(f'{os.path.basename(os.fspath(scene))}{format_display_bands(bands)}', 'map'),
        classes=classes,
        palette=palette,
        inches=side / 110,
    )
