"""A scene and its map as one small picture."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from dnas_mmseg.raster import Raster, nodata_mask

from .comparison import save_pictures
from .false_colour import class_colours, false_colour


def save_quick_look(
    path: str | os.PathLike,
    scene: str | os.PathLike,
    class_map: str | os.PathLike,
    *,
    bands: Sequence[str],
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
    side: int = 1000,
) -> None:
    """Write a PNG: the scene in false colour beside its map, with a legend.

    Args:
        path: The file.
        scene: Any raster.
        class_map: Its map, train ids.
        bands: Names of the scene's bands, in file order; empty where they are not known.
        classes, palette: Names and colours, in train-id order.
        side: Of the longer side of each picture, in pixels.
    """
    with Raster(scene) as raster:
        samples, nodata = raster.thumbnail(side), raster.info.nodata
    with Raster(class_map) as raster:
        ids = raster.thumbnail(side)[0]
    missing = nodata_mask(samples, nodata)
    if missing is not None:  # it must not stretch the colours
        samples = samples.astype(np.float32)
        samples[:, missing] = np.nan
    image = false_colour(samples.transpose(1, 2, 0), bands)
    if missing is not None:
        image[missing] = 255
    save_pictures(
        path,
        [[image, class_colours(ids, palette)]],
        headings=(os.path.basename(scene), 'map'),
        classes=classes,
        palette=palette,
        inches=side / 110,
    )
