"""Report of a comparison: table, and figure of accuracy or latency over cost."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dnas_mmseg.files import atomic_path, format_markdown_table, write_csv, write_json, write_text
from dnas_mmseg.visualization.html_page import (
    Alert,
    Element,
    Graphic,
    Heading,
    Note,
    Summary,
    Table,
    render_page,
    render_svg,
)
from dnas_mmseg.visualization.pareto import ParetoPoint, plot_pareto

_TOTALS = ('mIoU', 'OA', 'mAcc', 'FWIoU', 'kappa')
"""Scores over all classes; all others are scores of one class."""

_COLUMNS = (
    # heading, key, factor of the unit, digits
    ('parameters, M', 'parameters', 1e6, 2),
    ('multiply-adds, G', 'macs', 1e9, 2),
    ('activations, MiB', 'activations', 2**20, 0),
    ('latency, ms', 'latency', 1e-3, 1),
    ('peak memory, MiB', 'memory', 2**20, 0),
    ('training step, ms', 'step', 1e-3, 0),
    ('peak memory of the step, MiB', 'step_memory', 2**20, 0),
)


def save_cost_report(
    rows: Sequence[Mapping[str, Any]],
    conditions: Mapping[str, Any],
    out_dir: str | os.PathLike,
) -> Path:
    """Write ``comparison.md``, ``.csv``, ``.json``, ``pareto.png``, ``.svg`` and ``index.html``.

    Args:
        rows: Measurements of each model: ``name``; optionally ``parameters``, ``macs``,
            ``activations``, ``memory`` and ``step_memory`` in bytes, ``latency`` and ``step`` as
            lists of seconds, ``scores`` in percent, ``notes``.
        conditions: Conditions of the measurement by name, such as size and threads.
        out_dir: Folder of the files.

    Returns:
        Path of ``index.html``, a self-contained page.
    """
    out_dir = Path(out_dir)
    headings, lines = _table(rows)
    summary = ', '.join(f'{key} {value}' for key, value in conditions.items())
    notes = [f'{row["name"]}: {note}' for row in rows for note in row.get('notes', ())]
    markdown = [
        *format_markdown_table(headings, lines, numbers=range(1, len(headings))),
        '',
        *(f'- {note}' for note in notes),
        f'\n{summary}',
    ]
    write_text(out_dir / 'comparison.md', '\n'.join(markdown) + '\n')
    write_csv(out_dir / 'comparison.csv', [headings, *lines])
    write_json(out_dir / 'comparison.json', {'facts': conditions, 'models': rows})
    figure, tips = _pareto(rows)
    with atomic_path(out_dir / 'pareto.png') as temporary:
        FigureCanvasAgg(figure).print_figure(temporary, dpi=110, format='png')
    write_text(out_dir / 'pareto.svg', render_svg(figure))
    by_class = [i for i, heading in enumerate(headings) if heading.startswith(('IoU.', 'Acc.'))]
    scores = [i for i, heading in enumerate(headings) if heading in _TOTALS]
    rest = [i for i in range(1, len(headings)) if i not in (*by_class, *scores)]
    scored = any(_score(row) is not None for row in rows) and _is_comparable(rows)
    order = sorted(range(len(rows)), key=lambda i: _rank(rows[i], scored))

    def part(columns: Sequence[int]) -> Table:
        names = [headings[i].removeprefix('IoU.') for i in columns]
        return Table(names, [[lines[k][i] for i in columns] for k in order], sortable=True)

    title = 'Accuracy over cost' if _has_several_scores(rows) else 'Latency over multiply-adds'
    elements: list[Element] = [
        Summary(_summary(rows)),
        *map(Alert, notes),
        Graphic(figure, title, tips),
        Heading('All values'),
        part([0, *scores, *rest]),
    ]
    if by_class:
        elements += [Heading('IoU by class, %'), part([0, *by_class])]
    elements.append(Note(summary))
    write_text(out_dir / 'index.html', render_page('Comparison of models', elements))
    return out_dir / 'index.html'


def _score(row: Mapping[str, Any]) -> float | None:
    """Return the mIoU of a model; None if it was not tested or is undefined."""
    value = row.get('scores', {}).get('mIoU')
    return None if value is None or math.isnan(value) else value


def _rank(row: Mapping[str, Any], scored: bool) -> tuple[bool, float]:
    """Return the sort key of a row: the highest score first, or the lowest latency."""
    score, seconds = _score(row), _number(row, 'latency')
    if scored:
        return score is None, -(score or 0.0)
    return seconds is None, seconds or 0.0


def _has_several_scores(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether at least two models have a score, which a plot of scores requires."""
    return sum(_score(row) is not None for row in rows) > 1 and _is_comparable(rows)


def _is_comparable(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether the scores are of the same classes, as far as their names are known."""
    classes = (
        frozenset(key for key in row.get('scores', {}) if key.startswith('IoU.')) for row in rows
    )
    return len(set(filter(None, classes))) < 2


def _summary(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return sentences on the most accurate and the fastest model, with their margins."""
    sentences = []
    scored = [(score, row['name']) for row in rows if (score := _score(row)) is not None]
    scored.sort(reverse=True)
    timed = sorted((row for row in rows if _number(row, 'latency')), key=_latency)
    if not _is_comparable(rows):
        sentences.append(
            'The scores are not comparable: the models are scored on different classes.'
        )
    elif len(scored) > 1:
        (score, best), (other, second) = scored[:2]
        sentences.append(
            f'{best} has the highest score: {score:.1f} % mIoU, {score - other:.1f} above {second}.'
        )
        sentences.append(
            'Scores of a single seed vary between training runs: dnas train --seeds measures it.'
        )
    elif scored:
        sentences.append(f'{scored[0][1]} reaches {scored[0][0]:.1f} % mIoU.')
    if len(timed) > 1:
        first, last = timed[0], timed[-1]
        sentences.append(
            f'{first["name"]} is the fastest: {1e3 * _latency(first):.0f} ms, '
            f'{_latency(last) / _latency(first):.2f} times as fast as {last["name"]}.'
        )
    return sentences or ['No comparison is possible: no model has a latency or a score.']


def _latency(row: Mapping[str, Any]) -> float:
    value = _number(row, 'latency')
    assert value is not None
    return value


def _table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    columns = [column for column in _COLUMNS if any(_number(row, column[1]) for row in rows)]
    scores = list(dict.fromkeys(name for row in rows for name in row.get('scores', ())))
    headings = ['model', *(heading for heading, *_ in columns), *scores]
    lines = []
    for row in rows:
        cells = [str(row['name'])]
        for _, key, factor, digits in columns:
            value = _number(row, key)
            cells.append('–' if value is None else f'{value / factor:.{digits}f}')
        for name in scores:
            value = row.get('scores', {}).get(name)
            cells.append('–' if value is None or math.isnan(value) else f'{value:.2f}')
        lines.append(cells)
    return headings, lines


def _number(row: Mapping[str, Any], key: str) -> float | None:
    value = row.get(key)
    if isinstance(value, (list, tuple)):
        return statistics.median(value) if value else None
    return value


def _pareto(rows: Sequence[Mapping[str, Any]]) -> tuple[Figure, dict[str, str]]:
    """Plot accuracy over multiply-adds and latency; without scores, latency over multiply-adds.

    Returns:
        Figure, and the tooltips of its points by group id.
    """
    figure = Figure(figsize=(10, 4.2), layout='constrained')
    scored = _has_several_scores(rows)
    axes = figure.subplots(1, 2 if scored else 1, squeeze=False)[0]
    tips: dict[str, str] = {}

    def seconds(row: Mapping[str, Any]) -> float | None:
        value = _number(row, 'latency')
        return None if value is None else 1e3 * value

    def macs(row: Mapping[str, Any]) -> float | None:
        value = _number(row, 'macs')
        return None if value is None else value / 1e9

    costs, times = ('multiply-adds, G', macs), ('latency, ms', seconds)
    scores = ('mIoU, %', _score)
    plots = [(costs, scores), (times, scores)] if scored else [(costs, times)]
    for i, (axis, ((x_label, x_of), (y_label, y_of))) in enumerate(zip(axes, plots, strict=True)):
        found = [(row['name'], x_of(row), y_of(row)) for row in rows]
        points = [ParetoPoint(n, x, y) for n, x, y in found if x is not None and y is not None]
        tips |= plot_pareto(axis, points, (x_label, y_label), maximize=scored, prefix=f'plot{i}')
    return figure, tips
