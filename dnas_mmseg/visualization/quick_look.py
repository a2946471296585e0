"""A scene and its map as one small picture."""

from __future__ import annotations

import os
from collections.abc import Sequence

from dnas_mmseg.raster import Raster

from .comparison import save_pictures
from .false_colour import class_colours, false_colour


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
    """Write a PNG: the scene in false colour beside its map, with a legend.

    Args:
        path: The file.
        scene: Any raster.
        class_map: Its map, train ids.
        bands: Names of the bands that are shown; empty where they are not known.
        index: Which of the scene's bands these are, from 0; all but alpha by default.
        nodata: A value that is nodata beside what the scene declares.
        classes, palette: Names and colours, in train-id order.
        side: Of the longer side of each picture, in pixels.
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
        [[image, class_colours(ids, palette)]],
        headings=(os.path.basename(os.fspath(scene)), 'map'),
        classes=classes,
        palette=palette,
        inches=side / 110,
    )
