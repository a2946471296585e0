"""Quick-look image of a scene and its class map."""

from __future__ import annotations

import os
from collections.abc import Sequence

from dnas_mmseg.classes import ClassScheme
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
    classes: ClassScheme,
    side: int = 1000,
) -> None:
    """Write a PNG with a scene in false colour next to its class map, and a legend.

    Args:
        path: Path of the file.
        scene: Path of the scene.
        class_map: Path of its class map, with train ids.
        bands: Names of the bands to read; empty if unknown.
        index: 0-based indices of these bands in the scene; defaults to all but alpha.
        nodata: Nodata value in addition to the one that the scene declares.
        classes: Names and colours of the classes.
        side: Longer side of each image, in pixels.
    """
    with Raster(scene, nodata) as raster:
        samples = raster.samples(bands=index, side=side)
    with Raster(class_map) as raster:
        ids = raster.samples(side=side).values[0]
    invalid = samples.invalid
    # Invalid pixels must not influence the percentiles of the stretch.
    image = false_colour(samples.without_invalid().transpose(1, 2, 0), bands)
    if invalid is not None:
        image[invalid] = 255
    save_pictures(
        path,
        [[image, apply_palette(ids, classes.palette)]],
        headings=(f'{os.path.basename(os.fspath(scene))}{format_display_bands(bands)}', 'map'),
        classes=classes,
        inches=side / 110,
    )
