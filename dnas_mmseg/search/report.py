"""One HTML page that shows a search, also while it runs."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Callable
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dnas_mmseg.errors import UserError
from dnas_mmseg.files import atomic_path, write_text
from dnas_mmseg.spaces.architecture import Architecture
from dnas_mmseg.visualization.html_page import html_page, html_svg, html_table

from .figures import (
    course_figure,
    graph_figure,
    operations_figure,
    probabilities_figure,
    shares_figure,
)
from .history import HISTORY_FILE, SearchHistory

FIGURES: dict[str, tuple[str, Callable[[SearchHistory], Figure | None]]] = {
    'graph': ('Edges', graph_figure),
    'operations': ('Operations', operations_figure),
    'course': ('Course', course_figure),
    'shares': ('Shares of the operations', shares_figure),
    'probabilities': ('Every probability', probabilities_figure),
}


def save_search_report(work_dir: str | os.PathLike, out_dir: str | os.PathLike) -> Path:
    """Write ``search.html`` and the same pictures as PNG files.

    Args:
        work_dir: Folder of a search, or of a single stage.
        out_dir: Folder to write to.

    Returns:
        Path of the page.

    Raises:
        UserError: Nothing has been searched there yet.
    """
    work_dir, out_dir = Path(work_dir), Path(out_dir)
    stages = _stages(work_dir)
    if not stages:
        raise UserError(
            f'{work_dir}: no {HISTORY_FILE} there or in a folder of it; a search writes it after '
            'its first epoch'
        )
    parts = [_plan(work_dir)]
    for name, history in stages:
        parts.append(f'<h2>{html.escape(name)}: {html.escape(history.supernet)}</h2>')
        parts.append(_summary(history))
        for key, (title, make) in FIGURES.items():
            figure = make(history)
            if figure is not None:
                with atomic_path(out_dir / f'{name}_{key}.png') as temporary:
                    FigureCanvasAgg(figure).print_figure(temporary, dpi=110, format='png')
                parts.append(f'<h3>{title}</h3>\n{html_svg(figure)}')
        parts.append(_architecture(history.epochs[-1].architecture))
    title = f'Search in {work_dir.resolve().name}'
    write_text(out_dir / 'search.html', html_page(title, '\n'.join(parts)))
    return out_dir / 'search.html'


def _stages(work_dir: Path) -> list[tuple[str, SearchHistory]]:
    """Return every stage with at least one epoch, in the order they ran."""
    if (work_dir / HISTORY_FILE).is_file():
        return [(work_dir.resolve().name, SearchHistory.load(work_dir))]
    found = [
        (path.parent.name, SearchHistory.load(path.parent))
        for path in work_dir.glob(f'*/{HISTORY_FILE}')
    ]
    order = [path.stem for path in sorted(work_dir.glob('*.py'), key=os.path.getmtime)]
    return sorted(found, key=lambda item: order.index(item[0]) if item[0] in order else len(order))


def _plan(work_dir: Path) -> str:
    path = work_dir / 'search.json'
    if not path.is_file():
        return ''
    plan = json.loads(path.read_text(encoding='utf-8'))
    return html_table(
        ('setting', 'value'), [(k, v) for k, v in plan.items() if v not in (None, {}, [], False)]
    )


def _summary(history: SearchHistory) -> str:
    epoch = history.epochs[-1]
    rows: list[tuple[str, object]] = [
        ('epochs done', epoch.epoch),
        ('architecture steps', 'yes' if epoch.searching else 'not yet'),
        ('decoded network unchanged for', f'{history.unchanged} epochs'),
    ]
    rows += [(f'entropy of {kind}', f'{value:.3f}') for kind, value in history.entropies().items()]
    kept, gates = history.gates()
    if gates:
        rows.append(('gated edges kept', f'{kept} of {gates}'))
    if epoch.loss is not None:
        rows.append(('loss on half B', f'{epoch.loss:.4f}'))
    if epoch.cost is not None:
        rows.append(('cost of the decoded network', f'{epoch.cost:.4g}'))
    alarms = ''.join(f'<p class="alarm">{html.escape(alarm)}</p>' for alarm in history.alarms())
    return html_table(('', ''), rows) + alarms


def _architecture(architecture: Architecture) -> str:
    """Return the decoded network as a table that can be unfolded."""
    summary = ', '.join(f'{key} {value}' for key, value in architecture.summary.items())
    headings, rows = architecture.table
    if not rows:
        return f'<p>Decoded: <b>{summary}</b></p>'
    table = html_table(headings, rows)
    return f'<details><summary>The decoded network: {summary}</summary>{table}</details>'
