"""Figures with image, ground truth and prediction side by side."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dnas_mmseg.classes import ClassScheme
from dnas_mmseg.files import atomic_path

from .false_colour import apply_palette, false_colour, format_display_bands
from .plain_text import plain_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch


class ExampleRow(NamedTuple):
    """One tile: image (H, W, bands), ground truth and prediction as train ids (H, W)."""

    image: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray


def save_comparison(
    path: str | os.PathLike,
    rows: Sequence[ExampleRow],
    *,
    bands: Sequence[str],
    classes: ClassScheme,
    title: str = '',
) -> None:
    """Write a PNG with false colour, ground truth and prediction of each tile, and a legend.

    Args:
        path: Path of the file.
        rows: Tiles.
        bands: Band names of the images, see :func:`false_colour`.
        classes: Names and colours of the classes.
        title: Title of the figure.
    """
    save_pictures(
        path,
        [
            [
                false_colour(row.image, bands),
                apply_palette(row.truth, classes.palette),
                apply_palette(row.prediction, classes.palette),
            ]
            for row in rows
        ],
        headings=(f'image{format_display_bands(bands)}', 'ground truth', 'prediction'),
        classes=classes,
        title=title,
    )


def save_pictures(
    path: str | os.PathLike,
    rows: Sequence[Sequence[np.ndarray]],
    *,
    headings: Sequence[str],
    classes: ClassScheme,
    title: str = '',
    inches: float = 2.5,
) -> None:
    """Write a PNG with rows of RGB images, a heading per column, and a legend.

    Args:
        path: Path of the file.
        rows, headings, classes, title, inches: See :func:`draw_pictures`.
    """
    picture = draw_pictures(rows, headings=headings, classes=classes, title=title, inches=inches)
    with atomic_path(path) as temporary:
        temporary.write_bytes(picture)


def draw_pictures(
    rows: Sequence[Sequence[np.ndarray]],
    *,
    headings: Sequence[str],
    classes: ClassScheme,
    title: str = '',
    inches: float = 2.5,
) -> bytes:
    """Return a PNG with rows of RGB images, a heading per column, and a legend.

    Args:
        rows: RGB images by row, uint8 (H, W, 3).
        headings: Headings of the columns.
        classes: Names and colours of the classes.
        title: Title of the figure.
        inches: Approximate longer side of each image, at 110 pixels per inch.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    columns = len(headings)
    shapes = [picture.shape[:2] for pictures in rows for picture in pictures]
    # The longer side is bounded, so that a strip does not become a picture of gigabytes.
    height, width = (inches * max(shape[axis] / max(shape) for shape in shapes) for axis in (0, 1))
    size = (max(width * columns, 7.5), max(height, 0.3) * len(rows) + 0.9)
    figure = Figure(figsize=size, layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for line, pictures in zip(axes, rows, strict=True):
        for axis, picture in zip(line, pictures, strict=True):
            axis.imshow(picture, interpolation='nearest')
            axis.set_axis_off()
    for axis, heading in zip(axes[0], headings, strict=True):
        axis.set_title(plain_text(heading), fontsize=11)
    handles = [
        Patch(
            facecolor=(red / 255, green / 255, blue / 255), edgecolor='grey', label=plain_text(name)
        )
        for name, (red, green, blue) in (
            *classes,
            ('unlabelled', (0, 0, 0)),
        )
    ]
    _add_legend(figure, handles)
    if title:
        figure.suptitle(plain_text(title), fontsize=12)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110, format='png')
    return buffer.getvalue()


def _add_legend(figure: Figure, handles: Sequence[Patch]) -> None:
    """Add a legend below the axes, with as many columns as fit, and grow the figure for it."""
    for columns in range(min(6, len(handles)), 0, -1):
        legend = figure.legend(
            handles=handles, loc='outside lower center', ncols=columns, frameon=False, fontsize=9
        )
        if columns == 1 or legend.get_window_extent().width < 0.97 * figure.bbox.width:
            break
        legend.remove()
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + 0.2 * (-(-len(handles) // columns) - 1))
