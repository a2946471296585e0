"""Plots of score over cost with the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from .plain_text import plain_text

_FRONT, _POINT = '#94a3b8', '#0f766e'


@dataclass(frozen=True)
class ParetoPoint:
    """Model in a plot.

    Attributes:
        name: Name of the model.
        cost: Value on the horizontal axis; lower is better.
        value: Value on the vertical axis.
        group: Name of its group in the legend; empty for none.
        colour: Colour.
        label: Whether to draw its name.
    """

    name: str
    cost: float
    value: float
    group: str = ''
    colour: str = _POINT
    label: bool = True


def pareto_front(
    points: Iterable[tuple[float, float]], maximize: bool = True
) -> list[tuple[float, float]]:
    """Return the non-dominated points (cost, value), sorted by cost.

    Args:
        points: Pairs of cost and value; lower cost is better.
        maximize: Whether a larger value is better.

    Example:
        >>> pareto_front([(1, 70), (2, 69), (3, 75)])
        [(1, 70), (3, 75)]
    """
    sign = -1 if maximize else 1
    front: list[tuple[float, float]] = []
    for cost, value in sorted(points, key=lambda point: (point[0], sign * point[1])):
        if not front or sign * value < sign * front[-1][1]:
            front.append((cost, value))
    return front


def plot_pareto(
    axes: Axes,
    points: Sequence[ParetoPoint],
    labels: tuple[str, str],
    *,
    maximize: bool = True,
    prefix: str = '',
) -> dict[str, str]:
    """Plot points and their Pareto front; the cost axis is logarithmic if it spans a decade.

    Args:
        axes: Axes of the plot.
        points: Points.
        labels: Labels of the axes, ending in the units: ``('latency, ms', 'mIoU, %')``.
        maximize: Whether a larger value is better.
        prefix: Prefix of the group ids, unique in the figure.

    Returns:
        Tooltips of the points by group id, for :class:`dnas_mmseg.visualization.html_page.Graphic`.
    """
    points = sorted(points, key=lambda point: (point.cost, point.value))
    tips: dict[str, str] = {}
    log = bool(points) and points[-1].cost > 10 * points[0].cost
    ends = (points[0].cost, points[-1].cost) if points else (0, 0)
    middle = math.sqrt(ends[0] * ends[1]) if log else sum(ends) / 2
    front = pareto_front([(point.cost, point.value) for point in points], maximize)
    if front:
        axes.step(*zip(*front, strict=True), where='post', color=_FRONT, linewidth=1)
    groups: set[str] = set()
    x_unit, y_unit = (label.split()[-1] for label in labels)
    for i, point in enumerate(points):
        legend = point.group if point.group and point.group not in groups else None
        groups.add(point.group)
        (mark,) = axes.plot(point.cost, point.value, 'o', color=point.colour, label=legend)
        gid = f'{prefix}point{i}'
        mark.set_gid(gid)
        tips[gid] = f'{point.name}: {point.value:.4g} {y_unit} at {point.cost:.4g} {x_unit}'
        if not point.label:
            continue
        # Labels extend towards the middle, and away from the next point in that direction.
        inwards = 1 if point.cost < middle else -1
        neighbour = points[i + inwards] if 0 <= i + inwards < len(points) else None
        below = neighbour is not None and neighbour.value > point.value
        axes.annotate(
            plain_text(point.name), (point.cost, point.value),
            xytext=(5 * inwards, -4 if below else 4), textcoords='offset points', fontsize=8,
            ha='left' if inwards > 0 else 'right', va='top' if below else 'bottom',
        )  # fmt: skip
    if log:
        axes.set_xscale('log')
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FormatStrFormatter('%g'))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.25 if any(point.label for point in points) else 0.05, y=0.15)
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    axes.grid(alpha=0.25)
    if groups - {''}:
        axes.legend()
    return tips
