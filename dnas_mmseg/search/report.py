"""HTML report of a running or finished search."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dnas_mmseg.cost.table import format_cost
from dnas_mmseg.errors import UserError
from dnas_mmseg.files import atomic_path, write_text
from dnas_mmseg.spaces.architecture import LEVELS, Architecture
from dnas_mmseg.spaces.registry import load_architecture
from dnas_mmseg.visualization.html_page import (
    Alert,
    Bar,
    Details,
    Element,
    Graphic,
    Heading,
    Note,
    Summary,
    Table,
    render_page,
)
from dnas_mmseg.work_dir import (
    ARCHITECTURE_FILE,
    HISTORY_FILE,
    PLAN_FILE,
    RETRAIN_FILE,
    SEARCH_REPORT,
)

from .figures import course_figure, graph_figure, operations_figure, shares_figure
from .history import SearchHistory
from .plan import SearchPlan
from .probabilities import probability_tables

FIGURES: dict[str, tuple[str, Callable[[SearchHistory], Figure | None]]] = {
    'graph': ('Edge probabilities and decoded edges', graph_figure),
    'operations': ('Operation probabilities by node', operations_figure),
    'shares': ('Operation probabilities by epoch, mean over nodes', shares_figure),
    'course': ('Entropy, loss and changes by epoch', course_figure),
}
_ONLY_AS_PNG = ('operations',)
"""Figures that the page replaces by a table with a slider for the epoch."""

_DECISIONS = {
    'path': 'scale of every layer',
    'connection': 'edges in addition to the path',
    'cell': 'operations of every node',
}
"""What each stage of DNAS decides (Wang et al. 2022, Remote Sensing 14(16), 3864)."""


def save_search_report(
    work_dir: str | os.PathLike,
    out_dir: str | os.PathLike,
    running: bool = False,
    pictures: bool = True,
) -> Path:
    """Write ``search.html``, and its figures as PNG files.

    Args:
        work_dir: Work dir of a search or of a single stage.
        out_dir: Output folder.
        running: Whether the search is running; the page then reloads periodically.
        pictures: Whether to write the PNG files.

    Returns:
        Path of the page.

    Raises:
        UserError: ``work_dir`` contains no search with a completed epoch, or a file of the search
            is missing or damaged.
    """
    work_dir, out_dir = Path(work_dir), Path(out_dir)
    stages = _stages(work_dir)
    if not stages:
        raise UserError(
            f'{work_dir}: no {HISTORY_FILE} in it or in the folders of its stages; a search writes '
            'it after its first epoch'
        )
    plan = _plan(work_dir)
    elements: list[Element] = [Summary(*_verdict(work_dir, plan, stages, running))]
    for name, history in stages:
        elements += _stage(name, history, out_dir if pictures else None)
        elements.append(_architecture(history.epochs[-1].architecture, plan))
    if plan:
        settings = [(k, v) for k, v in plan.items() if v not in (None, {}, [], False)]
        elements += [Heading('Settings'), Table(('setting', 'value'), settings)]
    layers = f' of {plan["layers"]} layers' if plan.get('layers') else ''
    title = f'Search for a network{layers} in space {plan["space"]}' if plan else ''
    title = title or f'Search, stage {stages[0][0]}'
    page = out_dir / Path(SEARCH_REPORT).name
    write_text(page, render_page(title, elements, running))
    return page


def _stages(work_dir: Path) -> list[tuple[str, SearchHistory]]:
    """Return the name and history of every stage with a completed epoch, in execution order."""
    if (work_dir / HISTORY_FILE).is_file():
        return [(work_dir.resolve().name, SearchHistory.load(work_dir))]
    levels = SearchPlan.list_levels(work_dir) or LEVELS
    return [
        (level, SearchHistory.load(work_dir / level))
        for level in levels
        if (work_dir / level / HISTORY_FILE).is_file()
    ]


def _found_networks(work_dir: Path) -> list[tuple[str, Path]]:
    """Return the target and the folder of every network that a search found.

    Without several targets there is one network, in the work dir, and its target is empty.
    """
    if SearchPlan.list_levels(work_dir):
        plan = SearchPlan.load(work_dir)
        if len(plan.targets) > 1:
            return [(name, work_dir / 'targets' / name) for name in plan.target_names]
    return [('', work_dir)]


def _plan(work_dir: Path) -> dict[str, Any]:
    path = work_dir / PLAN_FILE
    return json.loads(path.read_text(encoding='utf-8')) if path.is_file() else {}


def _verdict(
    work_dir: Path, plan: dict[str, Any], stages: list[tuple[str, SearchHistory]], running: bool
) -> tuple[list[str], list[str]]:
    """Return sentences on the networks found and the entropy, and the next commands.

    While a search runs, they describe the network decoded after the last epoch.
    """
    name, history = stages[-1]
    epoch = history.epochs[-1]
    finished = (work_dir / RETRAIN_FILE).is_file() and not running
    if finished:
        found = _found_networks(work_dir)
        sentences = [_result(target, folder) for target, folder in found]
        commands = [f'dnas train {_quote(folder / RETRAIN_FILE)}' for _, folder in found]
    else:
        summary = _summary_text(epoch.architecture)
        sentences = [f'Stage {name}, decoded after epoch {epoch.epoch}: {summary}.']
        if epoch.cost is not None:
            sentences.append(f'Cost, in the metric of the target: {epoch.cost:.4g}.')
        space = plan.get('space')
        commands = [f'dnas search {space} --work-dir {_quote(work_dir)} --resume'] if space else []
    entropies = history.entropies()
    if not epoch.searching:
        sentences.append('Architecture steps have not begun.')
    elif entropies:
        kind, value = max(entropies.items(), key=lambda item: item[1])
        sentences.append(
            f'The highest mean entropy is that of the {kind} decisions: {value:.3f} of 1 '
            f'({_certainty(value)}).'
        )
        if value > 0.95 and finished:
            sentences.append(
                'Random networks may perform equally well: train a few for comparison (dnas '
                'random-architecture), or select by training runs (dnas select).'
            )
    return sentences, commands


def _result(target: str, folder: Path) -> str:
    """Return a sentence on a network that a search found."""
    network = load_architecture(folder / ARCHITECTURE_FILE)
    title = f'Result for target {target}' if target else 'Result'
    cost = network.provenance.get('cost')
    amount = f', {format_cost(cost["predicted"], cost["metric"])}' if cost else ''
    return f'{title}: {_summary_text(network)}{amount}.'


def _quote(path: Path) -> str:
    return shlex.quote(os.fspath(path))


def _certainty(entropy: float) -> str:
    """Return a description of a normalised entropy, from 0 (decided) to 1 (uniform)."""
    for limit, text in ((0.95, 'undecided'), (0.7, 'hardly decided'), (0.3, 'partly decided')):
        if entropy > limit:
            return text
    return 'decided'


def _stage(name: str, history: SearchHistory, out_dir: Path | None) -> list[Element]:
    """Return the section of a stage; with ``out_dir``, also write its figures as PNG files."""
    decided = f': {_DECISIONS[name]}' if name in _DECISIONS else ''
    elements: list[Element] = [Heading(f'Stage {name}{decided}'), *_summary(history)]
    elements += [Alert(f'{alarm[0].upper()}{alarm[1:]}') for alarm in history.alarms()]
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
            elements.append(Graphic(figure, title))
    return [*elements, *probability_tables(history)]


def _summary(history: SearchHistory) -> list[Element]:
    epoch = history.epochs[-1]
    since = f', unchanged for {history.unchanged}' if epoch.searching else ', no steps yet'
    rows: list[tuple[str, object]] = [('completed epochs', f'{epoch.epoch}{since}')]
    open_gates, gates = history.gates()
    if gates:
        rows.append(('gated edges selected', f'{open_gates} of {gates}'))
    if epoch.loss is not None:
        rows.append(('loss on half B', f'{epoch.loss:.4f}'))
    bars = [
        Bar(value, f'entropy of the {kind} decisions, {_certainty(value)}')
        for kind, value in history.entropies().items()
    ]
    return [Table(('', ''), rows), *bars]


def _summary_text(architecture: Architecture) -> str:
    return ', '.join(f'{key} {value}' for key, value in architecture.summary.items())


def _architecture(architecture: Architecture, plan: Mapping[str, Any]) -> Element:
    """Return the network decoded after the last epoch as a collapsible table."""
    headings, rows = architecture.table
    at = ' at the mean of the targets' if len(plan.get('targets') or ()) > 1 else ''
    summary = _summary_text(architecture)
    if not rows:
        return Note(f'Decoded{at}: {summary}')
    return Details(f'Decoded network{at}: {summary}', [Table(headings, rows)])
