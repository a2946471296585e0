"""Pictures of tiles in pages: encoding, and thumbnails of files."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from dnas_mmseg.classes import ClassScheme
from dnas_mmseg.datasets.checks import Expectation, check_bands
from dnas_mmseg.datasets.labels import label_samples
from dnas_mmseg.raster import Raster

from .false_colour import apply_palette, false_colour


def data_uri(picture: np.ndarray, lossless: bool = False) -> str:
    """Encode an RGB image as a data URI: JPEG, or PNG if ``lossless``.

    Args:
        picture: RGB image, uint8 (H, W, 3).
        lossless: Whether every pixel must keep its colour, as in pictures of labels.
    """
    buffer, image = io.BytesIO(), Image.fromarray(picture)
    if lossless:
        image.save(buffer, 'PNG', optimize=True)
    else:
        image.save(buffer, 'JPEG', quality=80)
    kind = 'png' if lossless else 'jpeg'
    return f'data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}'


def image_thumbnail(path: str, expected: Expectation, side: int) -> np.ndarray:
    """Read a downsampled image in false colour, uint8 (height, width, 3); invalid is white.

    Args:
        path: Path of the image.
        expected: Expectation on the image, with its bands.
        side: Longer side in pixels.

    Raises:
        RasterError: The file is unreadable.
    """
    with Raster(path, expected.nodata) as raster:
        index = check_bands(raster.info, expected.bands, expected.used)[0]
        samples = raster.samples(bands=index, side=side)
    bands = expected.used or expected.bands
    names = bands if len(bands) == len(index) else ()
    picture = false_colour(samples.without_invalid().transpose(1, 2, 0), names)
    if samples.invalid is not None:
        picture[samples.invalid] = 255
    return picture


def label_thumbnail(
    path: str, expected: Expectation, classes: ClassScheme, side: int
) -> np.ndarray:
    """Read a downsampled label in class colours, uint8 (height, width, 3); unlabelled is black.

    Args:
        path: Path of the label.
        expected: Expectation on the label, with its encoding.
        classes: Names and colours of the classes.
        side: Longer side in pixels.

    Raises:
        RasterError: The file is unreadable.
        LabelError: The label has a wrong number of bands.
    """
    with Raster(path) as raster:
        ids, _ = expected.labels.encode_known(label_samples(raster, expected.labels))
    step = -(-max(ids.shape) // side)
    return apply_palette(ids[::step, ::step], classes.palette)


def colour_text(colour: Sequence[int]) -> str:
    """Return an RGB colour as CSS, ``#rrggbb``."""
    red, green, blue = colour
    return f'#{red:02x}{green:02x}{blue:02x}'
