"""Figure of a confusion matrix."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from dnas_mmseg.files import atomic_path

from .plain_text import plain_text


def save_confusion(
    path: str | os.PathLike, matrix: np.ndarray, classes: Sequence[str], title: str = ''
) -> None:
    """Write a PNG of a confusion matrix normalised by row, in percent of the true class.

    Args:
        path: Path of the file.
        matrix: Counts, (n, n); rows are true classes.
        classes: Class names.
        title: Title of the figure.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    totals = matrix.sum(1, keepdims=True)
    percent = 100 * np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)
    n = len(classes)
    many = n > 10
    figure = Figure(figsize=(4.2 + 0.55 * n, 2.5 + 0.55 * n), layout='constrained')
    axes = figure.add_subplot()
    image = axes.imshow(percent, cmap='Blues', vmin=0, vmax=100)
    for row, column in np.ndindex(n, n):
        value = percent[row, column]
        colour = 'white' if value > 55 else '#1e293b'
        text = f'{value:.0f}' if many else f'{value:.1f}'
        axes.text(column, row, text, ha='center', va='center', color=colour)
    names = [plain_text(name) for name in classes]
    axes.set_xticks(
        range(n), names, rotation=60 if many else 30, ha='right', rotation_mode='anchor'
    )
    shares = totals[:, 0] / max(totals.sum(), 1)
    axes.set_yticks(
        range(n), [f'{c} ({100 * s:.0f} %)' for c, s in zip(names, shares, strict=True)]
    )
    axes.set_xlabel('predicted class')
    axes.set_ylabel('true class (share of the pixels)')
    axes.set_title(plain_text(title), fontsize=10)
    figure.colorbar(
        image, ax=axes, shrink=0.8, fraction=0.04, pad=0.02, label='% of the true class'
    )
    with atomic_path(path) as temporary:
        FigureCanvasAgg(figure).print_figure(temporary, dpi=110, format='png', bbox_inches='tight')
