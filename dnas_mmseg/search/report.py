"""One HTML page that shows a search, also while it runs."""

from __future__ import annotations

import html
import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dnas_mmseg.errors import UserError
from dnas_mmseg.files import atomic_path, write_text
from dnas_mmseg.spaces.architecture import Architecture
from dnas_mmseg.visualization.html_page import (
    html_figure,
    html_page,
    html_table,
    html_verdict,
    html_warning,
)

from .figures import course_figure, graph_figure, operations_figure, shares_figure
from .history import HISTORY_FILE, SearchHistory
from .probabilities import html_probabilities

FIGURES: dict[str, tuple[str, Callable[[SearchHistory], Figure | None]]] = {
    'graph': ('Which connections are kept', graph_figure),
    'operations': ('Which operations each node prefers', operations_figure),
    'shares': ('Which operations are preferred on the whole', shares_figure),
    'course': ('How the stage went', course_figure),
}
_ONLY_AS_PNG = ('operations',)
"""Pictures for which the page has something to choose an epoch by."""

_QUESTIONS = {
    'path': 'which scale every layer has',
    'connection': 'which edges are kept beside the path',
    'cell': 'which operations every node has',
}


def save_search_report(
    work_dir: str | os.PathLike,
    out_dir: str | os.PathLike,
    running: bool = False,
    pictures: bool = True,
) -> Path:
    """Write ``search.html`` and the same pictures as PNG files.

    Args:
        work_dir: Folder of a search, or of a single stage.
        out_dir: Folder to write to.
        running: Whether the search still runs; the page then reloads itself.
        pictures: Whether to write the PNG files.

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
    plan = _plan(work_dir)
    parts = [html_verdict(*_verdict(work_dir, plan, stages, running))]
    for name, history in stages:
        parts.append(_stage(name, history, out_dir if pictures else None))
    if plan:
        settings = [(k, v) for k, v in plan.items() if v not in (None, {}, [], False)]
        parts.append(f'<h2>Settings</h2>{html_table(("setting", "value"), settings)}')
    layers = f' of {plan["layers"]} layers' if plan.get('layers') else ''
    title = f'Search of a network{layers} in the space {plan["space"]}' if plan else ''
    title = title or f'Search, stage {stages[0][0]}'
    write_text(out_dir / 'search.html', html_page(title, '\n'.join(parts), running))
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


def _plan(work_dir: Path) -> dict[str, Any]:
    path = work_dir / 'search.json'
    return json.loads(path.read_text(encoding='utf-8')) if path.is_file() else {}


def _verdict(
    work_dir: Path, plan: dict[str, Any], stages: list[tuple[str, SearchHistory]], running: bool
) -> tuple[list[str], list[str]]:
    """Return what was found and how sure it is, in sentences, and the next commands."""
    name, history = stages[-1]
    epoch = history.epochs[-1]
    summary = _words(epoch.architecture)
    folder = shlex.quote(os.fspath(work_dir))
    finished = (work_dir / 'retrain.py').is_file() and not running
    if finished:
        sentences = [f'Found: {summary}.']
        commands = [f'dnas train {folder}/retrain.py']
    else:
        sentences = [f'Stage {name}, after epoch {epoch.epoch}, would decode to: {summary}.']
        space = plan.get('space')
        commands = [f'dnas search {space} --work-dir {folder} --resume'] if space else []
    if epoch.cost is not None:
        sentences.append(f'It costs {epoch.cost:.4g}, of what the target is about.')
    entropies = history.entropies()
    if not epoch.searching:
        sentences.append('Architecture steps have not begun: nothing is decided yet.')
    elif entropies:
        kind, value = max(entropies.items(), key=lambda item: item[1])
        sentences.append(
            f'How sure: the {kind} decisions have an entropy of {value:.3f} of 1, which is '
            f'{_sureness(value)}.'
        )
        if value > 0.95 and finished:
            sentences.append(
                'Networks drawn at random may do as well: train a few beside it (dnas '
                'random-architecture), or choose by real trainings (--strategy halving).'
            )
    return sentences, commands


def _sureness(entropy: float) -> str:
    """Return in words how decided probabilities of this entropy are."""
    for limit, words in ((0.95, 'undecided'), (0.7, 'hardly decided'), (0.3, 'partly decided')):
        if entropy > limit:
            return words
    return 'decided'


def _stage(name: str, history: SearchHistory, out_dir: Path | None) -> str:
    """Return the part of the page on a stage, and write its pictures into a folder."""
    question = f': {_QUESTIONS[name]}' if name in _QUESTIONS else ''
    parts = [f'<h2>Stage {html.escape(name)}{question}</h2>', _summary(history)]
    for alarm in history.alarms():
        parts.append(html_warning(f'{alarm[0].upper()}{alarm[1:]}'))
    for key, (title, make) in FIGURES.items():
        if out_dir is None and key in _ONLY_AS_PNG:
            continue
        figure = make(history)
        if figure is None:
            continue
        if out_dir is not None:
            with atomic_path(out_dir / f'{name}_{key}.png') as temporary:
                FigureCanvasAgg(figure).print_figure(temporary, dpi=110, format='png')
        if key not in _ONLY_AS_PNG:
            parts.append(html_figure(figure, title))
    parts.append(html_probabilities(history))
    parts.append(_architecture(history.epochs[-1].architecture))
    return '\n'.join(parts)


def _summary(history: SearchHistory) -> str:
    epoch = history.epochs[-1]
    since = f', unchanged for {history.unchanged}' if epoch.searching else ', no steps yet'
    rows: list[tuple[str, object]] = [('epochs done', f'{epoch.epoch}{since}')]
    kept, gates = history.gates()
    if gates:
        rows.append(('gated edges kept', f'{kept} of {gates}'))
    if epoch.loss is not None:
        rows.append(('loss on half B', f'{epoch.loss:.4f}'))
    bars = ''.join(
        f'<p><span class="bar" role="img" aria-label="{value:.3f} of 1"><i style="width:'
        f'{100 * value:.1f}%"></i></span> {value:.3f} of 1: entropy of the {html.escape(kind)} '
        f'decisions, {_sureness(value)}</p>'
        for kind, value in history.entropies().items()
    )
    return html_table(('', ''), rows) + bars


def _words(architecture: Architecture) -> str:
    return ', '.join(f'{key} {value}' for key, value in architecture.summary.items())


def _architecture(architecture: Architecture) -> str:
    """Return the decoded network as a table that can be unfolded."""
    headings, rows = architecture.table
    if not rows:
        return f'<p>Decoded: <b>{html.escape(_words(architecture))}</b></p>'
    summary = html.escape(f'The decoded network: {_words(architecture)}')
    return f'<details><summary>{summary}</summary>{html_table(headings, rows)}</details>'
