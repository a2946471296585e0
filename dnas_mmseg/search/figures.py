"""Figures of a search: edges, operations, entropies and losses."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dnas_mmseg.spaces.architecture import Architecture
from dnas_mmseg.spaces.decisions import Decision

from .history import SearchHistory

Point = tuple[int, ...]

_OPEN, _CHOSEN = '#9aa7b4', '#c2410c'
_EDGES = ('incoming', 'outgoing', 'gate')


def graph_figure(history: SearchHistory) -> Figure | None:
    """Plot the candidate edges, with probability as line width, and the decoded ones.

    Layers go from left to right, scales from fine (top) to coarse.

    Returns:
        Figure; None if the stage decides no edges.
    """
    epoch = history.epochs[-1]
    edges = {
        edge: p
        for decision, ps in zip(history.decisions, epoch.probabilities, strict=True)
        for edge, p in zip(_edges(decision), ps, strict=False)
    }
    if not edges:
        return None
    chosen = epoch.architecture.graph
    nodes = {node for edge in (*edges, *chosen) for node in edge}
    columns = {first: x for x, first in enumerate(sorted({node[0] for node in nodes}))}
    figure = Figure(figsize=(1.0 + 0.85 * len(columns), 4.2), layout='constrained')

    def curve(source: Point, target: Point) -> np.ndarray:
        return _curve(*((columns[node[0]], node[1]) for node in (source, target)))

    axes = figure.add_subplot()
    # Long edges are arcs, to distinguish those over the same nodes.
    open_ = [edge for edge in edges if edge not in chosen]
    axes.add_collection(
        LineCollection(
            [curve(*edge) for edge in open_],
            linewidths=[0.3 + 3 * edges[edge] for edge in open_],
            colors=_OPEN,
            alpha=0.6,
        )
    )
    axes.add_collection(
        LineCollection(
            [curve(*edge) for edge in chosen],
            linewidths=[0.6 + 3 * edges.get(edge, 1.0) for edge in chosen],
            colors=_CHOSEN,
        )
    )
    used = {node for edge in chosen for node in edge}
    for group, colour in ((nodes - used, 'white'), (used, _CHOSEN)):
        if group:
            x, y = zip(*((columns[node[0]], node[1]) for node in group), strict=True)
            axes.scatter(x, y, s=90, c=colour, edgecolors='#334155', zorder=3)
    axes.set_xticks(range(len(columns)), ['stem' if first < 0 else str(first) for first in columns])
    scales = sorted({node[1] for node in nodes})
    axes.set_yticks(scales, [f'1/{4 * 2**scale:g}' for scale in scales])
    axes.set_ylim(max(scales) + 0.6, min(scales) - 1.1)
    axes.set_xlim(-0.4, len(columns) - 0.6)
    axes.set_xlabel(epoch.architecture.axes[0])
    axes.set_ylabel('scale')
    axes.spines[['top', 'right', 'left', 'bottom']].set_visible(False)
    axes.legend(
        handles=[
            Line2D([], [], color=_CHOSEN, linewidth=2.5, label='decoded'),
            Line2D([], [], color=_OPEN, linewidth=2.5, label='candidate (width: probability)'),
        ],
        loc='upper left',
        ncols=2,
        frameon=False,
    )
    return figure


def operations_figure(history: SearchHistory) -> Figure | None:
    """Plot the probability of every operation of every node, and mark the decoded ones.

    Returns:
        Figure; None if the stage decides no operations.
    """
    epoch = history.epochs[-1]
    rows = [
        (decision, ps)
        for decision, ps in zip(history.decisions, epoch.probabilities, strict=True)
        if decision.kind == 'operation'
    ]
    if not rows:
        return None
    names = list(dict.fromkeys(name for decision, _ in rows for name in decision.options))
    chosen = epoch.architecture.selected_operations
    figure = Figure(figsize=(1.5 + 0.42 * len(rows), 1.2 + 0.34 * len(names)), layout='constrained')
    axes = figure.add_subplot()
    values = np.full((len(names), len(rows)), np.nan)  # white where a node lacks the option
    for x, (decision, ps) in enumerate(rows):
        values[[names.index(name) for name in decision.options], x] = ps
    image = axes.imshow(values, cmap='Blues', aspect='auto', vmin=0)
    for x, (decision, _) in enumerate(rows):
        for y, name in enumerate(names):
            if name in chosen.get(decision.node, ()):
                axes.plot(x, y, marker='s', markersize=7, markerfacecolor='none', color=_CHOSEN)
    axes.set_xticks(range(len(rows)), [_name(d.node) for d, _ in rows], rotation=90)
    axes.set_yticks(range(len(names)), list(map(str, names)))
    axes.set_xlabel(f'{epoch.architecture.axes[1]}; squares: decoded')
    figure.colorbar(image, ax=axes, label='probability')
    return figure


def course_figure(history: SearchHistory) -> Figure:
    """Plot entropies, loss on half B and changes of the decoded network over epochs."""
    epochs = [epoch.epoch for epoch in history.epochs]
    figure = Figure(figsize=(11, 3.2), layout='constrained')
    entropy, loss, changes = figure.subplots(1, 3)
    kinds = history.entropies()
    for kind in kinds:
        entropy.plot(
            epochs, [history.entropies(i)[kind] for i in range(len(epochs))], '.-', label=kind
        )
    entropy.set_title('entropy of the decisions (1: undecided)', fontsize=10)
    entropy.set_ylim(0, 1.05)
    entropy.legend(frameon=False)
    loss.plot(epochs, [np.nan if e.loss is None else e.loss for e in history.epochs], '.-')
    loss.set_title('loss on half B', fontsize=10)
    counts = [
        len(_edges_and_operations(a.architecture) ^ _edges_and_operations(b.architecture))
        for a, b in zip(history.epochs, history.epochs[1:], strict=False)
    ]
    changes.bar(epochs[1:], counts, color=_OPEN)
    changes.set_title('changes of the decoded network', fontsize=10)
    start = next((epoch.epoch for epoch in history.epochs if epoch.searching), None)
    for axes in (entropy, loss, changes):
        axes.set_xlabel('epoch')
        axes.grid(alpha=0.3)
        axes.set_xlim(0.5, epochs[-1] + 0.5)
        if start is not None:
            axes.axvline(start - 0.5, color='#334155', linestyle=':', linewidth=1)
    return figure


def shares_figure(history: SearchHistory) -> Figure | None:
    """Plot the mean probability of every operation over epochs.

    Returns:
        Figure; None if the stage decides no operations.
    """
    shares = [history.operation_shares(i) for i in range(len(history.epochs))]
    if not shares[-1]:
        return None
    figure = Figure(figsize=(7, 3.4), layout='constrained')
    axes = figure.add_subplot()
    for i, name in enumerate(shares[-1]):
        style = '-' if i < 10 else '--'
        axes.plot(
            [epoch.epoch for epoch in history.epochs], [s[name] for s in shares], style, label=name
        )
    axes.set_xlabel('epoch')
    axes.set_title('mean probability of each operation', fontsize=10)
    axes.legend(frameon=False, fontsize=7, loc='center left', bbox_to_anchor=(1, 0.5))
    axes.grid(alpha=0.3)
    return figure


def _edges(decision: Decision) -> Iterator[tuple[Point, Point]]:
    """Yield the candidate edges of a decision, source first."""
    if decision.kind in _EDGES:
        for option in decision.options:
            if isinstance(option, str):
                continue  # the option to end the path
            ends = (tuple(option), tuple(decision.node))
            yield ends[::-1] if decision.kind == 'outgoing' else ends


def _edges_and_operations(architecture: Architecture) -> set:
    chosen = architecture.selected_operations.items()
    return {*architecture.graph, *((node, name) for node, names in chosen for name in names)}


def _curve(source: Point, target: Point) -> np.ndarray:
    """Return points of an edge: a line between adjacent layers, else an arc over the nodes."""
    (x0, y0), (x1, y1) = source[:2], target[:2]
    t = np.linspace(0, 1, 24)
    height = 0.12 * max(0, x1 - x0 - 1) ** 0.8
    return np.stack([x0 + (x1 - x0) * t, y0 + (y1 - y0) * t - height * np.sin(np.pi * t)], 1)


def _name(node: Point) -> str:
    return 'stem' if node[0] < 0 else f'({",".join(map(str, node))})'
