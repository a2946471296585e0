"""Report on models side by side: a table, and a picture of accuracy or speed over cost."""

from __future__ import annotations

import csv
import html
import json
import math
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from dnas_mmseg.files import atomic_path, write_text
from dnas_mmseg.visualization.html_page import html_page, html_svg, html_table

_COLUMNS = (
    # heading, key, unit's factor, digits
    ('parameters, M', 'parameters', 1e6, 2),
    ('multiply-adds, G', 'macs', 1e9, 2),
    ('activations, MiB', 'activations', 2**20, 0),
    ('latency, ms', 'latency', 1e-3, 1),
    ('peak memory, MiB', 'memory', 2**20, 0),
    ('training step, ms', 'step', 1e-3, 0),
    ('its memory, MiB', 'step_memory', 2**20, 0),
)


def save_cost_report(
    rows: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
    out_dir: str | os.PathLike,
) -> Path:
    """Write ``comparison.md``, ``.csv``, ``.json``, ``pareto.png``, ``.svg`` and ``index.html``.

    Args:
        rows: Measurements of each model: ``name``, and as far as they are known ``parameters``,
            ``macs``, ``activations`` and memory in bytes, ``latency`` and ``step`` as lists of
            seconds, ``scores`` in percent, ``notes``.
        facts: Facts on the measurement, by name.
        out_dir: Folder of the files.

    Returns:
        Path of the page, which needs no other file.
    """
    out_dir = Path(out_dir)
    headings, lines = _table(rows)
    told = ', '.join(f'{key} {value}' for key, value in facts.items())
    notes = [f'{row["name"]}: {note}' for row in rows for note in row.get('notes', ())]
    markdown = [
        '| ' + ' | '.join(headings) + ' |',
        '|---' + '|---:' * (len(headings) - 1) + '|',
        *('| ' + ' | '.join(line) + ' |' for line in lines),
        '',
        *(f'- {note}' for note in notes),
        f'\n{told}',
    ]
    write_text(out_dir / 'comparison.md', '\n'.join(markdown) + '\n')
    with (
        atomic_path(out_dir / 'comparison.csv') as temporary,
        temporary.open('w', encoding='utf-8', newline='') as file,
    ):
        csv.writer(file).writerows([headings, *lines])
    # JSON has no NaN; a class that does not occur has no score.
    models = [
        {
            **row,
            'scores': {k: None if math.isnan(v) else float(v) for k, v in row['scores'].items()},
        }
        for row in rows
    ]
    document = {'facts': dict(facts), 'models': models}
    write_text(out_dir / 'comparison.json', json.dumps(document, indent=1) + '\n')
    figure = _pareto(rows)
    with atomic_path(out_dir / 'pareto.png') as temporary:
        FigureCanvasAgg(figure).print_figure(temporary, dpi=110, format='png')
    svg = html_svg(figure)
    write_text(out_dir / 'pareto.svg', svg)
    parts = [
        f'<p>{html.escape(told)}</p>',
        html_table(headings, lines),
        *(f'<p class="alarm">{html.escape(note)}</p>' for note in notes),
        svg,
    ]
    write_text(out_dir / 'index.html', html_page('Comparison', '\n'.join(parts)))
    return out_dir / 'index.html'


def _table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    shown = [column for column in _COLUMNS if any(_number(row, column[1]) for row in rows)]
    scores = list(dict.fromkeys(name for row in rows for name in row.get('scores', ())))
    headings = ['model', *(heading for heading, *_ in shown), *scores]
    lines = []
    for row in rows:
        cells = [str(row['name'])]
        for _, key, factor, digits in shown:
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


def _pareto(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw accuracy over multiply-adds and latency; without scores, latency over multiply-adds."""
    figure = Figure(figsize=(10, 4.2), layout='constrained')
    scored = any('mIoU' in row.get('scores', {}) for row in rows)
    axes = figure.subplots(1, 2 if scored else 1, squeeze=False)[0]

    def score(row: Mapping[str, Any]) -> float | None:
        return row.get('scores', {}).get('mIoU')

    def seconds(row: Mapping[str, Any]) -> float | None:
        value = _number(row, 'latency')
        return None if value is None else 1e3 * value

    def macs(row: Mapping[str, Any]) -> float | None:
        value = _number(row, 'macs')
        return None if value is None else value / 1e9

    if scored:
        _scatter(axes[0], rows, macs, score, 'multiply-adds, G', 'mIoU, %', best=max)
        _scatter(axes[1], rows, seconds, score, 'latency, ms', 'mIoU, %', best=max)
    else:
        _scatter(axes[0], rows, macs, seconds, 'multiply-adds, G', 'latency, ms', best=min)
    return figure


def _scatter(axes, rows, x_of, y_of, x_label: str, y_label: str, best) -> None:
    """Draw points with names, and a line through those that no other beats in both values."""
    points = [(x_of(row), y_of(row), row['name']) for row in rows]
    sign = 1 if best is min else -1
    points = [p for p in points if p[0] is not None and p[1] is not None]
    points.sort(key=lambda point: (point[0], sign * point[1]))
    front: list[tuple] = []
    for x, y, _ in points:
        if not front or sign * y < sign * front[-1][1]:
            front.append((x, y))
    if front:
        axes.step(*zip(*front, strict=True), where='post', color='#94a3b8', linewidth=1)
    for x, y, name in points:
        axes.plot(x, y, 'o', color='#0f766e')
        axes.annotate(name, (x, y), xytext=(5, 4), textcoords='offset points', fontsize=8)
    if points and points[-1][0] > 10 * points[0][0]:
        axes.set_xscale('log')
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FormatStrFormatter('%g'))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.25, y=0.15)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.25)
