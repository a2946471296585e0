"""Leaderboard and HTML report of a selection."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from dnas_mmseg.cost.table import METRICS, format_cost
from dnas_mmseg.files import write_csv, write_json, write_text
from dnas_mmseg.search.selection import Request, Selection
from dnas_mmseg.search.selection.study import Outcome, public_name
from dnas_mmseg.visualization.html_page import (
    Graphic,
    Heading,
    Note,
    Summary,
    Table,
    render_page,
)
from dnas_mmseg.visualization.pareto import ParetoPoint, plot_pareto
from dnas_mmseg.work_dir import FINAL_FOLDER, LEADERBOARD_FILE, RETRAIN_FILE, SELECTION_REPORT

from .networks import Baseline, Candidate, SpaceCandidates
from .plan import SelectionPlan

_COLOURS = {'proposed': '#0f766e', 'random': '#94a3b8', 'given': '#7c3aed', 'baseline': '#c2410c'}
"""Colours of candidates by origin."""


@dataclass
class CandidateRow:
    """A row of the leaderboard.

    Attributes:
        name: Name of the candidate.
        kind: Origin: ``'random'``, ``'proposed'`` (by the surrogate), ``'given'`` (by the
            user) or ``'baseline'``.
        cost: Cost in the metric of the plan.
        macs: Multiply-adds.
        params: Number of parameters.
        scores: Scores of its trainings, in percent, by rung and seed.
        error: Error message of a failed training.
        seconds: Time of its trainings, in seconds.
    """

    name: str
    kind: str
    cost: float
    macs: float
    params: float
    scores: dict[tuple[int, int], float] = field(default_factory=dict)
    error: str = ''
    seconds: float = 0.0

    def mean(self, rung: int) -> float | None:
        """Return the mean score at a rung; None without scores."""
        scores = [score for (at, _), score in self.scores.items() if at == rung]
        return float(np.mean(scores)) if scores else None


class Leaderboard:
    """Trained candidates and the result of a selection.

    Args:
        plan: Settings of the selection.
        candidates: Candidates of the selection.
        initial: Candidates given by the user.
        pixels: mIoU of the per-pixel baselines on the scored part, in percent, by name.

    Attributes:
        rungs: Share of the full schedule of each rung.
        rows: Row of each trained candidate.
        selection: Result; None while the selection runs.
        trained: Whether the winner is trained on the whole training list.
        tested: mIoU of that winner on the test tiles, in percent; None without test tiles.
        spent: Cost of the trainings, in full trainings.
        stopped: Reason of a premature stop; empty if there was none.
    """

    def __init__(
        self,
        plan: SelectionPlan,
        candidates: SpaceCandidates,
        initial: Sequence[Candidate],
        pixels: Mapping[str, float] = {},
    ) -> None:
        self.plan, self._candidates, self._initial = plan, candidates, frozenset(initial)
        self.pixels = dict(pixels)
        self.rungs = candidates.fidelities
        self._has_first_batch = False
        self.rows: dict[Candidate, CandidateRow] = {}
        self.selection: Selection | None = None
        self.trained = False
        self.tested: float | None = None
        self.spent = 0.0
        self.stopped = ''

    def add(self, trainings: Iterable[tuple[Request, Outcome]]) -> None:
        """Add a finished batch; its candidates are random in the first one, else proposed."""
        for (candidate, rung, seed), outcome in trainings:
            row = self.rows.get(candidate)
            if row is None:
                cost, macs, params = (
                    self._candidates.cost_by(candidate, metric)
                    for metric in (self.plan.network.cost, 'macs', 'params')
                )
                kind = self._kind(candidate)
                row = self.rows[candidate] = CandidateRow(candidate.name, kind, cost, macs, params)
            if outcome.score is None:
                row.error = outcome.error
            else:
                row.scores[rung, seed] = outcome.score
            row.seconds += outcome.metadata.get('seconds', 0.0)
            self.spent += self.rungs[rung]
        self._has_first_batch = True

    def _kind(self, candidate: Candidate) -> str:
        if isinstance(candidate, Baseline):
            return 'baseline'
        if candidate in self._initial:
            return 'given'
        return 'proposed' if self._has_first_batch else 'random'

    def decide(self, selection: Selection) -> None:
        """Set the result."""
        self.selection = selection

    def finish(self, tested: float | None) -> None:
        """Set the test score of the winner after its training on the whole training list.

        Args:
            tested: mIoU on the test tiles, in percent; None without test tiles.
        """
        self.trained, self.tested = True, tested

    @property
    def ranked(self) -> list[CandidateRow]:
        """Rows: the winner first, then by highest rung and mean score at it."""
        rungs = range(len(self.rungs))

        def order(row: CandidateRow) -> tuple:
            first = self.selection is not None and row is self.rows[self.selection.best]
            means = [row.mean(rung) for rung in reversed(rungs)]
            return (not first, *((m is None, -(m or 0.0)) for m in means))

        return sorted(self.rows.values(), key=order)

    def verdict(self) -> list[str]:
        """Return sentences on the result and its uncertainty, or on the progress."""
        if self.selection is None and self.stopped:
            failed = sum(bool(row.error) for row in self.rows.values())
            lines = [
                f'The selection has stopped: {self.stopped}.',
                f'{self.spent:.1f} of {self.plan.budget:g} full trainings are complete, '
                f'{failed} candidates have failed. --resume continues.',
            ]
            if failed:
                lines.append('--retry-failed retries the failed ones.')
            return lines
        if self.selection is None:
            return [
                f'The selection is running: {self.spent:.1f} of {self.plan.budget:g} full '
                'trainings are complete. The order may still change.'
            ]
        result, last = self.selection, len(self.rungs) - 1
        best = self.rows[result.best]
        cost = format_cost(best.cost, self.plan.network.cost)
        lines = [f'{best.name} wins with {result.score:.2f} % mIoU, at {cost}.']
        ahead = {name: score for name, score in self.pixels.items() if score >= result.score}
        if ahead:
            trees = max(ahead, key=lambda name: ahead[name])
            lines.append(
                f'No network beats the {trees}, {ahead[trees]:.2f} %: spatial context adds little '
                'on these tiles, or the training runs are too short.'
            )
        if self.tested is not None:
            lines.append(
                f'Trained on the whole training list, it reaches {self.tested:.2f} % on the test '
                'tiles.'
            )
        if isinstance(result.best, Baseline):
            lines.append('It is a baseline: no candidate of the search space was better.')
        if result.undecided:
            names = [candidate.name for candidate in result.undecided]
            rest = len(names) - 3
            more = f' and {rest} other{"s" * (rest > 1)}' if rest > 0 else ''
            lines.append(
                'The lead is undecided: the best is less than one standard error ahead of '
                f'{", ".join(names[:3])}{more}; the cheaper of the first two wins.'
            )
        if result.noise is None:
            lines.append('No training was repeated: the noise of the scores is unknown.')
        else:
            repeats = sum(seed > 0 for row in self.rows.values() for _, seed in row.scores)
            source = f'{repeats} repeat{"s" * (repeats > 1)}'
            lines.append(
                f'Standard deviation of a score over seeds: {result.noise:.2f} (from {source}).'
            )
        lines += self._random_baseline(list(result.control.values()))
        for row in self.rows.values():
            if row.kind != 'baseline' or row is best:
                continue
            mean = row.mean(last)
            score = f'{mean:.2f}' if mean is not None else f'failed ({row.error})'
            lines.append(f'{row.name}: {score} at {format_cost(row.macs, "macs")}.')
        if result.failures:
            count = len(result.failures)
            lines.append(f'{count} candidate{"s" * (count > 1)} failed in training.')
        lines.append(f'Budget used: {result.spent:.1f} of {self.plan.budget:g} full trainings.')
        return lines

    def _random_baseline(self, scores: list[float]) -> list[str]:
        """Compare the first scores of random networks with those of proposed ones."""
        if not scores:
            return []
        first = min(rung for row in self.rows.values() for rung, _ in row.scores)
        means = [row.mean(first) for row in self.rows.values() if row.kind == 'proposed']
        proposed = [mean for mean in means if mean is not None]
        share = self.rungs[first]
        text = f'{_describe(scores, "random")}'
        if proposed:
            text += f', {_describe(proposed, "proposed")}'
        if share < 1:
            text = f'At {100 * share:.3g} % of the schedule: {text}'
        return [f'{text}.']


def _describe(scores: list[float], origin: str) -> str:
    networks = f'{len(scores)} {origin} network{"s" * (len(scores) > 1)}'
    return f'{networks} with {np.mean(scores):.2f} on average and {max(scores):.2f} at best'


def save_results(
    board: Leaderboard, work_dir: Path, running: bool, storage: str | None = None
) -> None:
    """Write ``leaderboard.csv``, ``leaderboard.json`` and ``report.html``.

    Args:
        board: Leaderboard of the selection.
        work_dir: Output folder.
        running: Whether the selection or the training of its winner is running; the page then
            reloads periodically.
        storage: ``--storage`` of the selection, for the command that resumes it.
    """
    headings, lines = _table(board)
    verdict = board.verdict()
    if running and board.selection is not None:
        verdict.insert(1, 'Its training on the whole training list is running.')
    write_csv(work_dir / f'{LEADERBOARD_FILE}.csv', [headings, *lines])
    document = {
        'verdict': ' '.join(verdict),
        'test_mIoU': board.tested,
        'running': running,
        'spent': board.spent,
        'budget': board.plan.budget,
        'pixels': board.pixels,
        'candidates': [
            {
                'name': row.name,
                'kind': row.kind,
                'macs': row.macs,
                'params': row.params,
                'cost': row.cost,
                'seconds': row.seconds,
                'error': row.error,
                'scores': [
                    {'rung': board.rungs[rung], 'seed': seed, 'mIoU': score}
                    for (rung, seed), score in row.scores.items()
                ],
            }
            for row in board.ranked
        ],
    }
    write_json(work_dir / f'{LEADERBOARD_FILE}.json', document)
    space, folder = board.plan.network.space, shlex.quote(str(work_dir))
    queue = '' if storage is None else f' --storage {shlex.quote(public_name(storage))}'
    commands = []
    if running or board.stopped:
        when = '' if board.stopped else '    # if it stops'
        commands = [f'dnas search {space} --work-dir {folder} --resume{queue}{when}']
    elif board.trained:  # not true on a machine that joined the selection
        model = f'{folder}/{RETRAIN_FILE} {folder}/{FINAL_FOLDER}'
        commands = [f'dnas predict {model} SCENE --out-dir maps']
    elements = [
        Summary(verdict, commands),
        *_figures(board),
        Heading('Leaderboard'),
        Table(headings, lines, sortable=True),
        Note(
            'Origin: random, proposed (by the surrogate), given (--candidates), '
            'baseline or per-pixel (no network). Scores are means over seeds, on the scored part '
            'of the training list.'
        ),
    ]
    title = f'Selection of a {space} network'
    write_text(work_dir / SELECTION_REPORT, render_page(title, elements, running))


def _table(board: Leaderboard) -> tuple[list[str], list[list[str]]]:
    rungs = range(len(board.rungs))
    (macs, letter), (params, also) = (
        _unit([getattr(row, key) for row in board.rows.values()]) for key in ('macs', 'params')
    )
    headings = ['candidate', 'origin', f'multiply-adds, {letter}', f'parameters, {also}']
    headings += [f'mIoU at {board.rungs[rung]:.3g}' for rung in reversed(rungs)]
    headings += ['seeds', 'seconds', 'note']
    lines = []
    for row in board.ranked:
        means = [row.mean(rung) for rung in reversed(rungs)]
        seeds = sum(at == len(board.rungs) - 1 for at, _ in row.scores)
        lines.append(
            [
                row.name,
                row.kind,
                f'{row.macs / macs:.4g}',
                f'{row.params / params:.4g}',
                *('' if mean is None else f'{mean:.2f}' for mean in means),
                str(seeds),
                f'{row.seconds:.0f}',
                row.error,
            ]
        )
    for name, score in board.pixels.items():
        empty = [''] * (len(rungs) - 1)
        lines.append([name, 'per-pixel', '', '', f'{score:.2f}', *empty, '', '', 'no network'])
    return headings, lines


def _unit(values: Sequence[float]) -> tuple[float, str]:
    """Return a factor suitable for the largest value, and its prefix."""
    largest = max(values, default=0)
    return next(
        (f, letter)
        for f, letter in ((1e9, 'G'), (1e6, 'M'), (1e3, 'K'))
        if largest >= f / 2 or f == 1e3
    )


def _figures(board: Leaderboard) -> list[Graphic]:
    """Return the figures of the report for which there are scores."""
    last = len(board.rungs) - 1
    figures = []
    points = [(row, mean) for row in board.rows.values() if (mean := row.mean(last)) is not None]
    if points:
        figure, tips = _front_figure(board, points)
        figures.append(Graphic(figure, 'Scores and cost, with the Pareto front', tips))
    rungs = [
        sum(row.mean(rung) is not None for rung in range(last + 1)) for row in board.rows.values()
    ]
    if max(rungs, default=0) > 1:
        figure, tips = _rungs_figure(board)
        figures.append(Graphic(figure, 'Scores by rung', tips))
    return figures


def _front_figure(
    board: Leaderboard, points: Sequence[tuple[CandidateRow, float]]
) -> tuple[Figure, dict[str, str]]:
    """Plot scores over cost; also return the tooltips of the points by element id."""
    figure = Figure(figsize=(8, 4.5), layout='constrained')
    axes = figure.add_subplot()
    metric = board.plan.network.cost
    if metric == 'latency':
        factor, unit = 1e3, 'ms'
    else:
        divisor, unit = _unit([row.cost for row, _ in points])
        factor = 1 / divisor
    name = 'latency' if metric == 'latency' else METRICS[metric]
    shown = [
        ParetoPoint(row.name, row.cost * factor, mean, row.kind, _COLOURS[row.kind], label=False)
        for row, mean in points
    ]
    tips = plot_pareto(axes, shown, (f'{name}, {unit}', 'mIoU on the scored part, %'))
    if board.selection is not None:
        row = board.rows[board.selection.best]
        axes.plot(
            row.cost * factor, board.selection.score, 'o', markersize=13,
            markerfacecolor='none', color='#0f766e', label='winner',
        )  # fmt: skip
        axes.legend()
    return figure, tips


def _rungs_figure(board: Leaderboard) -> tuple[Figure, dict[str, str]]:
    """Plot scores over rungs; also return the tooltips of the lines by element id."""
    tips: dict[str, str] = {}
    figure = Figure(figsize=(8, 4.5), layout='constrained')
    axes = figure.add_subplot()
    rungs = board.rungs
    for row in board.rows.values():
        means = [(rungs[r], mean) for r in range(len(rungs)) if (mean := row.mean(r)) is not None]
        if means:
            (line,) = axes.plot(
                *zip(*means, strict=True), 'o-', color=_COLOURS[row.kind], alpha=0.7
            )
            line.set_gid(f'rungs_{len(tips)}')
            scores = ', '.join(f'{mean:.2f} % at {share:.3g}' for share, mean in means)
            tips[f'rungs_{len(tips)}'] = f'{row.name}: {scores}'
    for kind, colour in _COLOURS.items():
        if any(row.kind == kind for row in board.rows.values()):
            axes.plot([], [], 'o-', color=colour, label=kind)
    axes.set_xscale('log')
    axes.set_xticks(rungs, [f'{rung:.3g}' for rung in rungs])
    axes.minorticks_off()
    axes.set_xlabel('share of the full schedule')
    axes.set_ylabel('mIoU on the scored part, %')
    axes.grid(alpha=0.25)
    axes.legend()
    return figure, tips
