"""HTML report of a selection."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from matplotlib.figure import Figure

from dnas_mmseg.cost.table import METRICS
from dnas_mmseg.files import write_text
from dnas_mmseg.runs.durations import duration
from dnas_mmseg.visualization.html_page import (
    Element,
    Graphic,
    Heading,
    Note,
    Summary,
    Table,
    render_page,
)
from dnas_mmseg.visualization.pareto import ParetoPoint, plot_pareto
from dnas_mmseg.work_dir import FINAL_FOLDER, RETRAIN_FILE, SELECTION_REPORT

from .leaderboard import CandidateRow, Leaderboard, leaderboard_table, save_leaderboard, unit_of
from .queue import public_name

_COLOURS = {
    'proposed': '#0f766e', 'random': '#94a3b8', 'given': '#7c3aed', 'portfolio': '#c2410c'
}  # fmt: skip
"""Colours of candidates by origin."""

_HIDDEN = ('seeds', 'parameters')
"""Columns of the CSV file that the page does not show."""

_FAR_BELOW = 10.0
"""Distance below all curves from which a baseline is not drawn, in points of mIoU."""

_SIZE = (5.2, 3.6)
"""Size of figures in inches, which narrow windows show as a whole."""


def save_results(
    board: Leaderboard, work_dir: Path, running: bool, storage: str | None = None
) -> None:
    """Write the leaderboard and ``report.html``.

    Args:
        board: Leaderboard of the selection.
        work_dir: Output folder.
        running: Whether the selection or the training of its winner is running; the page then
            reloads periodically.
        storage: ``--storage`` of the selection, for the command that resumes it.
    """
    save_leaderboard(board, work_dir, running)
    verdict = board.verdict()
    if running and board.selection is not None:
        verdict.insert(1, 'The training of the winner on the whole training list is running.')
    if running and board.left is not None:
        end = datetime.now() + timedelta(seconds=board.left)  # the page may not change until then
        verdict.append(f'About {duration(board.left)} left, until {end:%A %H:%M}.')
    folder = shlex.quote(str(work_dir))
    queue = '' if storage is None else f' --storage {shlex.quote(public_name(storage))}'
    commands = []
    if running or board.stopped:
        when = '' if board.stopped else '    # if it stops'
        commands = [f'dnas select --work-dir {folder} --resume{queue}{when}']
    elif board.trained:  # not true on a machine that joined the selection
        model = f'{folder}/{RETRAIN_FILE} {folder}/{FINAL_FOLDER}'
        commands = [f'dnas predict {model} SCENE --out-dir maps']
    headings, lines = leaderboard_table(board)
    shown = [i for i, heading in enumerate(headings) if not heading.startswith(_HIDDEN)]
    elements: list[Element] = [
        Summary(verdict, commands),
        *_figures(board),
        Heading('Leaderboard'),
        Table([headings[i] for i in shown], [[row[i] for i in shown] for row in lines], True),
        Note(
            'Origin: portfolio, given (--candidates), random, proposed (by a surrogate), or '
            'per-pixel (no network). Scores are those of the averaged weights on the scored tiles, '
            'means over seeds: the validation list, or a part of the training list. All trainings '
            'of a rung have the same training time; a promotion continues the training. Note: '
            'epochs of a stock network '
            'that was trained for less than half of its own schedule.'
        ),
    ]
    if board.by_class:
        classes = [(name, f'{score:.1f}') for name, score in board.by_class.items()]
        elements[-3:-3] = [
            Heading('The winner on the test tiles'),
            Table(('class', 'IoU, %'), classes),
            *_samples(board),
        ]
    write_text(work_dir / SELECTION_REPORT, render_page('Network selection', elements, running))


def _samples(board: Leaderboard) -> list[Element]:
    """Return sample predictions of the winner, if they are drawn."""
    if board.samples is None:
        return []
    return [Graphic(board.samples, 'Image, label and prediction of test tiles')]


def _figures(board: Leaderboard) -> list[Graphic]:
    """Return the figures of the report for which there are scores."""
    figures = []
    points = [
        (row, mean) for row in board.rows.values() if (mean := row.mean(board.last)) is not None
    ]
    if points:
        figure, tips = _front_figure(board, points)
        figures.append(Graphic(figure, 'Scores and cost at the last rung, with the front', tips))
    if any(row.curve for row in board.rows.values()):
        figure, tips = _curves_figure(board)
        figures.append(Graphic(figure, 'Scores while training', tips))
    return figures


def _front_figure(
    board: Leaderboard, points: Sequence[tuple[CandidateRow, float]]
) -> tuple[Figure, dict[str, str]]:
    """Plot scores over cost; also return the tooltips of the points by element id."""
    figure = Figure(figsize=_SIZE, layout='constrained')
    axes = figure.add_subplot()
    metric = board.plan.cost
    if metric == 'latency':
        factor, unit = 1e3, 'ms'
    else:
        divisor, unit = unit_of([row.cost for row, _ in points])
        factor = 1 / divisor
    name = 'latency' if metric == 'latency' else METRICS[metric]
    shown = [
        ParetoPoint(
            row.name, row.cost * factor, mean, row.origin, _COLOURS[row.origin], label=False
        )
        for row, mean in points
    ]
    tips = plot_pareto(axes, shown, (f'{name}, {unit}', 'mIoU on the scored tiles, %'))
    if board.winner is not None:
        row = board.rows[board.winner]
        axes.plot(
            row.cost * factor, row.mean(board.last) or 0.0, 'o', markersize=13,
            markerfacecolor='none', color='#0f766e', label='winner',
        )  # fmt: skip
        axes.legend()
    return figure, tips


def _curves_figure(board: Leaderboard) -> tuple[Figure, dict[str, str]]:
    """Plot scores over training time; also return the tooltips of the lines by element id.

    The time of an epoch is that of the candidate's last rung, divided by its epochs.
    """
    tips: dict[str, str] = {}
    figure = Figure(figsize=_SIZE, layout='constrained')
    axes = figure.add_subplot()
    for row in board.rows.values():
        rungs = [rung for rung, seed in row.scores if seed == 0]
        if not rungs or not row.curve or not row.epochs:
            continue
        epoch = board.lengths.seconds[max(rungs)] / row.epochs
        times = [epoch * number for number in row.curve]
        (line,) = axes.plot(
            times, list(row.curve.values()), 'o-', markersize=3, alpha=0.7,
            color=_COLOURS[row.origin],
        )  # fmt: skip
        line.set_gid(f'curve_{len(tips)}')
        score = list(row.curve.values())[-1]
        tips[f'curve_{len(tips)}'] = f'{row.name}: {score:.2f} % after {row.epochs} epochs'
    lowest = min((s for row in board.rows.values() for s in row.curve.values()), default=0.0)
    for name, score in board.pixels.items():
        if score < lowest - _FAR_BELOW:
            continue  # the line would flatten the curves
        axes.axhline(score, color='#64748b', linewidth=1, linestyle=':', label=name)
    for origin, colour in _COLOURS.items():
        if any(row.origin == origin for row in board.rows.values()):
            axes.plot([], [], 'o-', color=colour, label=origin)
    axes.set_xscale('log')
    axes.set_xlabel('training time, s')
    axes.set_ylabel('mIoU on the scored tiles, %')
    axes.grid(alpha=0.25)
    axes.legend()
    return figure, tips
