"""Figures of a data set: histograms per band, class shares, and footprints."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .plain_text import plain_text

SPLIT_COLOURS = {'train': '#0f766e', 'val': '#c2410c', 'test': '#7c3aed'}

_WIDTH = 5.2
"""Width of figures in inches, which narrow windows show as a whole."""

_GROUP = 4
"""Bins drawn as one: single values of stretched or compressed images alternate between high and
low counts."""

_MAX_VECTORS = 1000
"""Footprints drawn as vectors; more become pixels, which bounds the size of the page."""


def histogram_figure(edges: np.ndarray, counts: Mapping[str, np.ndarray]) -> Figure:
    """Plot the histograms of a band, a line per split.

    Args:
        edges: Edges of the bins, (bins + 1,), with a multiple of four bins; four are drawn as one.
        counts: Valid pixels per bin by split, (bins,).
    """
    figure = Figure(figsize=(_WIDTH, 2.4), layout='constrained')
    axes = figure.add_subplot()
    edges = edges[::_GROUP]
    for split, pixels in counts.items():
        shares = 100 * pixels.reshape(-1, _GROUP).sum(1) / max(pixels.sum(), 1)
        axes.stairs(shares, edges, color=SPLIT_COLOURS[split], label=split, linewidth=1.1)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(bottom=0)
    axes.set_xlabel('sample')
    axes.set_ylabel('valid pixels, %')
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    return figure


def class_shares_figure(names: Sequence[str], shares: Mapping[str, np.ndarray]) -> Figure:
    """Plot the share of each class as bars, one per split.

    Args:
        names: Names of the classes.
        shares: Share of each class in the labelled pixels by split, (classes,).
    """
    height = 0.9 + len(names) * (0.16 * len(shares) + 0.14)
    figure = Figure(figsize=(_WIDTH, height), layout='constrained')
    axes = figure.add_subplot()
    thickness = 0.8 / max(len(shares), 1)
    for i, (split, values) in enumerate(shares.items()):
        places = np.arange(len(names)) + (i - (len(shares) - 1) / 2) * thickness
        axes.barh(places, 100 * values, thickness, color=SPLIT_COLOURS[split], label=split)
    axes.set_yticks(range(len(names)), [plain_text(name) for name in names])
    axes.invert_yaxis()
    axes.set_xlabel('share of the labelled pixels, %')
    axes.grid(axis='x', alpha=0.25)
    axes.legend(frameon=False)
    return figure


def footprint_figure(footprints: Mapping[str, np.ndarray]) -> Figure:
    """Plot the footprints of the tiles in longitude and latitude, in the colours of the splits.

    Tiles that are small compared with the area have a marker at their centre.

    Args:
        footprints: Corners of the tiles by split, in degrees, float (tiles, 4, 2).
    """
    corners = np.concatenate(list(footprints.values()))
    extent = np.ptp(corners.reshape(-1, 2), axis=0)
    latitude = math.radians(float(corners[..., 1].mean()))
    stretch = 1 / max(math.cos(latitude), 0.05)
    shape = extent[1] * stretch / max(extent[0], 1e-12)
    size = (_WIDTH, _WIDTH * min(max(shape, 0.5), 1.0))
    figure = Figure(figsize=size, dpi=200, layout='constrained')
    axes = figure.add_subplot()
    small = np.median(np.ptp(corners, axis=1).max(1)) < 0.01 * extent.max()
    many = len(corners) > _MAX_VECTORS
    for split, outlines in footprints.items():
        colour = SPLIT_COLOURS[split]
        patches = PolyCollection(
            list(outlines), facecolor=colour, edgecolor=colour, alpha=0.5, linewidth=0.5,
            rasterized=many,
        )  # fmt: skip
        axes.add_collection(patches)
        if small:
            axes.plot(
                *outlines.mean(1).T, 'o', markersize=3.5, alpha=0.7, color=colour, rasterized=many
            )
        axes.plot([], [], 's', color=colour, label=f'{split} ({len(outlines):,})')
    axes.autoscale_view()
    axes.margins(0.05)
    axes.set_aspect(stretch, adjustable='datalim')
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.ticklabel_format(useOffset=False)
    axes.set_xlabel('longitude, degrees')
    axes.set_ylabel('latitude, degrees')
    axes.grid(alpha=0.25)
    axes.legend()
    return figure
