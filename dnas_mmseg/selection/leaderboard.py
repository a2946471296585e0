"""Leaderboard of a selection: trained candidates and the sentences of its result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dnas_mmseg.cost.table import format_cost
from dnas_mmseg.files import write_csv, write_json
from dnas_mmseg.work_dir import CURVES_FILE, LEADERBOARD_FILE

from .algorithm import Request, Selection, seed_effects
from .candidates import CandidateSet
from .families import Candidate
from .lengths import Lengths
from .queue import Outcome

ORIGINS = ('portfolio', 'given', 'random', 'proposed')
"""Origins of candidates: the portfolio or a config of the user, ``--candidates``, sampled at
random, proposed by a surrogate."""

_SHORT = 0.5
"""Share of a network's own schedule below which its score is marked."""


@dataclass
class CandidateRow:
    """A row of the leaderboard.

    Attributes:
        name: Name in reports.
        family: Name of the family.
        origin: One of :data:`ORIGINS`.
        choices: Values of the declared choices; empty for the default.
        cost: Cost in the metric of the plan.
        macs: Multiply-adds.
        params: Number of parameters.
        schedule: Number of epochs of its own schedule; None for networks of search spaces.
        scores: Scores of its trainings, in percent, by rung and seed.
        effects: Effects of seeds on all scores of a rung, by rung and seed.
        curve: Scores by epoch of the training with the first seed.
        epochs: Number of epochs of that training.
        steps: Number of its iterations.
        seconds: Time of all trainings, in seconds.
        error: Error message of a failed training.
    """

    name: str
    family: str
    origin: str
    choices: str
    cost: float
    macs: float
    params: float
    schedule: int | None
    scores: dict[tuple[int, int], float] = field(default_factory=dict)
    effects: Mapping[int, Mapping[int, float]] = field(default_factory=dict)
    curve: dict[int, float] = field(default_factory=dict)
    epochs: int = 0
    steps: int = 0
    seconds: float = 0.0
    error: str = ''

    def mean(self, rung: int) -> float | None:
        """Return the mean score at a rung without the effects of seeds; None without scores."""
        effects = self.effects.get(rung, {})
        scores = [
            score - effects.get(seed, 0.0)
            for (at, seed), score in self.scores.items()
            if at == rung
        ]
        return float(np.mean(scores)) if scores else None

    @property
    def note(self) -> str:
        """What limits the comparison with others: an error, or a short training."""
        if self.error:
            return self.error
        if self.schedule is not None and self.epochs < _SHORT * self.schedule:
            return f'{self.epochs} of {self.schedule} epochs'
        return ''


@dataclass(frozen=True)
class EnsembleResult:
    """Ensemble of finalists.

    Attributes:
        members: Names of the members, the best first.
        score: mIoU on the scored tiles, in percent, before the further training of the winner.
        tested: mIoU on the test tiles, in percent; None without test tiles.
        single: mIoU of its first member on the test tiles, in percent.
        macs: Multiply-adds of all members.
    """

    members: tuple[str, ...]
    score: float
    tested: float | None
    single: float | None
    macs: float

    def sentence(self) -> str:
        """Return the result as a sentence."""
        names = ' and '.join(self.members)
        text = f'The ensemble of {names}, at {format_cost(self.macs, "macs")}'
        before = f'{self.score:.2f} % on the scored tiles before the further training of the winner'
        if self.tested is None:
            return f'{text}, scored {before}.'
        return (
            f'{text}, reaches {self.tested:.2f} % on the test tiles, {self.members[0]} alone '
            f'{self.single:.2f} %. It scored {before}.'
        )


class Leaderboard:
    """Trained candidates and the result of a selection.

    Args:
        candidates: Candidates of the selection.
        lengths: Lengths of the trainings.
        pixels: mIoU of the per-pixel baselines on the scored tiles, in percent, by name.

    Attributes:
        rows: Row of each trained candidate.
        selection: Result; None while the selection runs.
        winner: The candidate that is trained as the result.
        trained: Whether the winner is trained on the whole training list.
        tested: mIoU of that winner on the test tiles, in percent; None without test tiles.
        by_class: Its IoU of each class, in percent.
        samples: Figure with its predictions; None if they are not drawn.
        spent: Cost of the trainings, in trainings of the last rung.
        planned: Cost of the planned trainings; defaults to the budget.
        ensemble: Ensemble of finalists; None if there is none.
        stopped: Reason of a premature stop; empty if there was none.
        left: Estimated remaining time in seconds; None if unknown.
    """

    def __init__(
        self, candidates: CandidateSet, lengths: Lengths, pixels: Mapping[str, float]
    ) -> None:
        self.plan, self.candidates, self.lengths = candidates.plan, candidates, lengths
        self.pixels = dict(pixels)
        self._has_first_batch = False
        self.rows: dict[Candidate, CandidateRow] = {}
        self._effects: dict[int, dict[int, float]] = {}
        self.selection: Selection | None = None
        self.winner: Candidate | None = None
        self.trained = False
        self.tested: float | None = None
        self.by_class: dict[str, float] = {}
        self.samples: Figure | None = None
        self.spent, self.planned = 0.0, lengths.budget
        self.ensemble: EnsembleResult | None = None
        self.stopped = ''
        self.left: float | None = None

    @property
    def last(self) -> int:
        """Index of the last rung, or of the one after which the selection ended early."""
        return len(self.lengths.seconds) - 1 if self.selection is None else self.selection.fidelity

    def add(self, trainings: Iterable[tuple[Request, Outcome]]) -> None:
        """Add a finished batch; unknown candidates are random in the first one, else proposed."""
        for (candidate, rung, seed), outcome in trainings:
            if candidate not in self.rows:
                self.rows[candidate] = self._row(candidate)
            row, metadata = self.rows[candidate], outcome.metadata
            if outcome.score is None:
                row.error = outcome.error
            else:
                row.scores[rung, seed] = outcome.score
            if seed == 0:
                row.epochs = metadata.get('epochs', row.epochs)
                row.steps = metadata.get('steps', row.steps)
                row.curve.update({int(e): score for e, score in metadata.get('curve', ())})
            row.seconds += metadata.get('seconds', 0.0)
            fidelities = self.lengths.fidelities
            below = fidelities[rung - 1] if rung and seed == 0 else 0.0
            self.spent += fidelities[rung] - below
        for rung in range(len(self.lengths.fidelities)):
            by_seed = (
                {seed: score for (at, seed), score in row.scores.items() if at == rung}
                for row in self.rows.values()
            )
            self._effects[rung] = seed_effects(by_seed)
        self._has_first_batch = True

    def _row(self, candidate: Candidate) -> CandidateRow:
        found = self.candidates
        cost, macs, params = (
            found.cost_by(candidate, metric) for metric in (self.plan.cost, 'macs', 'params')
        )
        family = found.families[candidate.family]
        schedule = None
        if not family.is_searched:
            schedule = found.full_config(candidate).train_cfg.get('max_epochs')
        origin = 'proposed' if self._has_first_batch else 'random'
        if candidate in found.initial:
            origin = 'given' if candidate in found.given else 'portfolio'
        choices = family.describe(candidate)
        return CandidateRow(
            found.label(candidate),
            candidate.family,
            origin,
            choices,
            cost,
            macs,
            params,
            schedule,
            effects=self._effects,
        )

    def decide(self, selection: Selection) -> None:
        """Set the result."""
        self.selection = selection
        accurate = self.plan.prefer == 'accuracy'
        self.winner = selection.best if accurate else selection.cheapest

    def finish(self, scores: Mapping[str, float | None], samples: Figure | None = None) -> None:
        """Set the test scores of the winner after its training on the whole training list.

        Args:
            scores: Scores on the test tiles by name, in percent; empty without test tiles.
            samples: Figure with predictions.
        """
        self.trained, self.tested, self.samples = True, scores.get('mIoU'), samples
        self.by_class = {
            name.removeprefix('IoU.'): score
            for name, score in scores.items()
            if name.startswith('IoU.') and score is not None and np.isfinite(score)
        }

    @property
    def ranked(self) -> list[CandidateRow]:
        """Rows: the winner first, then by highest rung and mean score at it."""

        def order(row: CandidateRow) -> tuple:
            first = self.winner is not None and row is self.rows[self.winner]
            means = [row.mean(rung) for rung in range(self.last, -1, -1)]
            return (not first, *((m is None, -(m or 0.0)) for m in means))

        return sorted(self.rows.values(), key=order)

    @property
    def front(self) -> list[CandidateRow]:
        """Rows of the last rung that no other one surpasses in both score and cost."""
        rows = sorted(
            (row for row in self.rows.values() if row.mean(self.last) is not None),
            key=lambda row: (row.cost, -(row.mean(self.last) or 0.0)),
        )
        front: list[CandidateRow] = []
        for row in rows:
            if not front or (row.mean(self.last) or 0.0) > (front[-1].mean(self.last) or 0.0):
                front.append(row)
        return front

    def verdict(self) -> list[str]:
        """Return sentences on the result and its uncertainty, or on the progress."""
        used = f'{self.spent:.1f} of {self.planned:.1f} full trainings'
        if self.selection is None and self.stopped:
            failed = sum(bool(row.error) for row in self.rows.values())
            lines = [
                f'The selection has stopped: {self.stopped}.',
                f'{used} are complete, {failed} candidates have failed. --resume continues.',
            ]
            if failed:
                lines.append('--retry-failed retries the failed ones.')
            return lines
        if self.selection is None:
            return [f'The selection is running: {used} are complete. The order may still change.']
        assert self.winner is not None
        if self.stopped:
            return [
                f'The training of {self.rows[self.winner].name} has stopped: {self.stopped}.',
                '--resume continues.',
            ]
        result, best = self.selection, self.rows[self.selection.best]
        cost = format_cost(best.cost, self.plan.cost)
        lines = [f'{best.name} has the highest score, {result.score:.2f} % mIoU, at {cost}.']
        cheapest = self.rows[result.cheapest]
        if cheapest is not best:
            mean = cheapest.mean(self.last) or 0.0
            lines.append(
                f'{cheapest.name} is the cheapest that is not clearly worse: {mean:.2f} % at '
                f'{format_cost(cheapest.cost, self.plan.cost)}.'
            )
        lines += self._pixel_comparison(result.score)
        if self.tested is not None:
            lines.append(
                f'{self.rows[self.winner].name}, trained further on the whole training list, '
                f'reaches {self.tested:.2f} % on the test tiles.'
            )
        if self.ensemble is not None:
            lines.append(self.ensemble.sentence())
        lines += self._uncertainty(result)
        lines += self._random_baseline(list(result.control.values()))
        if result.failures:
            count = len(result.failures)
            lines.append(f'{count} candidate{"s" * (count > 1)} failed in training.')
        for name, reason in self.candidates.excluded.items():
            lines.append(f'Excluded: {name} ({reason}).')
        if any(trial.fidelity > result.fidelity for trial in result.trials):
            lines.append(
                f'All finalists failed: the result is the best network of rung '
                f'{result.fidelity + 1}.'
            )
        elif result.fidelity < len(self.lengths.seconds) - 1:
            lines.append(
                f'The comparison ended after rung {result.fidelity + 1}: no other network was left '
                'that could reach the best. The time that was left went into its training.'
            )
        lines.append(f'Used: {used}.')
        return lines

    def _pixel_comparison(self, score: float) -> list[str]:
        ahead = {name: value for name, value in self.pixels.items() if value >= score}
        if not ahead:
            return []
        name = max(ahead, key=lambda name: ahead[name])
        return [
            f'No network beats the {name}, {ahead[name]:.2f} %: spatial context adds little on '
            'these tiles, or the training runs are too short.'
        ]

    def _uncertainty(self, result: Selection) -> list[str]:
        lines = []
        if result.undecided:
            names = [self.rows[candidate].name for candidate in result.undecided]
            rest = len(names) - 3
            more = f' and {rest} other{"s" * (rest > 1)}' if rest > 0 else ''
            lines.append(
                'The lead is undecided: the best is less than one standard error ahead of '
                f'{", ".join(names[:3])}{more}.'
            )
        repeats = sum(seed > 0 for row in self.rows.values() for _, seed in row.scores)
        if result.noise is None:
            text = (
                'No two networks were repeated together' if repeats else 'No training was repeated'
            )
            lines.append(
                f'{text}: a standard deviation of {self.candidates.noise:g} over seeds is assumed.'
            )
        else:
            lines.append(
                f'Standard deviation of a score over repeats: {result.noise:.2f} (from '
                f'{repeats} repeat{"s" * (repeats > 1)}).'
            )
        return lines

    def _random_baseline(self, scores: list[float]) -> list[str]:
        """Compare the first scores of random networks with those of proposed ones."""
        if not scores:
            return []
        first = min(rung for row in self.rows.values() for rung, _ in row.scores)
        means = [row.mean(first) for row in self.rows.values() if row.origin == 'proposed']
        proposed = [mean for mean in means if mean is not None]
        text = f'{_describe(scores, "random")}'
        if proposed:
            text += f', {_describe(proposed, "proposed")}'
        return [f'At rung {first + 1}: {text}.']


def _describe(scores: Sequence[float], origin: str) -> str:
    networks = f'{len(scores)} {origin} network{"s" * (len(scores) > 1)}'
    return f'{networks} with {np.mean(scores):.2f} on average and {max(scores):.2f} at best'


def save_leaderboard(board: Leaderboard, work_dir: Path, running: bool) -> None:
    """Write ``leaderboard.csv``, ``leaderboard.json`` and ``curves.csv``.

    Args:
        board: Leaderboard of the selection.
        work_dir: Output folder.
        running: Whether the selection or the training of its winner is running.
    """
    headings, lines = leaderboard_table(board)
    write_csv(work_dir / f'{LEADERBOARD_FILE}.csv', [headings, *lines])
    curves = [
        [row.name, epoch, score] for row in board.ranked for epoch, score in row.curve.items()
    ]
    write_csv(work_dir / CURVES_FILE, [['candidate', 'epoch', 'mIoU'], *curves])
    document: dict[str, Any] = {
        'verdict': ' '.join(board.verdict()),
        'test_mIoU': board.tested,
        'running': running,
        'spent': board.spent,
        'budget': board.lengths.budget,
        'lengths': list(board.lengths.seconds),
        'pixels': board.pixels,
        'excluded': board.candidates.excluded,
        'front': [row.name for row in board.front],
        'ensemble': None if board.ensemble is None else asdict(board.ensemble),
        'candidates': [
            {
                'name': row.name,
                'family': row.family,
                'origin': row.origin,
                'choices': row.choices,
                'macs': row.macs,
                'params': row.params,
                'cost': row.cost,
                'epochs': row.epochs,
                'steps': row.steps,
                'seconds': row.seconds,
                'note': row.note,
                'scores': [
                    {'rung': rung, 'seed': seed, 'mIoU': score}
                    for (rung, seed), score in row.scores.items()
                ],
            }
            for row in board.ranked
        ],
    }
    write_json(work_dir / f'{LEADERBOARD_FILE}.json', document)


def leaderboard_table(board: Leaderboard) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows of the leaderboard, the winner first."""
    rungs = range(board.last, -1, -1)
    rows = board.rows.values()
    macs, letter = unit_of([row.macs for row in rows])
    params, also = unit_of([row.params for row in rows])
    headings = ['candidate', 'origin', *(f'mIoU, rung {rung + 1}' for rung in rungs), 'seeds']
    headings += ['epochs', 'steps', 'seconds', f'multiply-adds, {letter}', f'parameters, {also}']
    headings += ['note']
    lines = []
    for row in board.ranked:
        means = [row.mean(rung) for rung in rungs]
        seeds = len({seed for _, seed in row.scores})
        name = (
            f'{row.name} ({row.choices})' if row.choices and row.origin != 'portfolio' else row.name
        )
        lines.append(
            [
                name,
                row.origin,
                *('' if mean is None else f'{mean:.2f}' for mean in means),
                str(seeds),
                str(row.epochs),
                str(row.steps),
                f'{row.seconds:.0f}',
                f'{row.macs / macs:.4g}',
                f'{row.params / params:.4g}',
                row.note,
            ]
        )
    for name, score in board.pixels.items():
        empty = [''] * (len(rungs) - 1)
        lines.append([name, 'per-pixel', f'{score:.2f}', *empty, *[''] * 6, 'no network'])
    return headings, lines


def unit_of(values: Sequence[float]) -> tuple[float, str]:
    """Return a factor suitable for the largest value, and its prefix."""
    largest = max(values, default=0)
    return next(
        (f, letter)
        for f, letter in ((1e9, 'G'), (1e6, 'M'), (1e3, 'K'))
        if largest >= f / 2 or f == 1e3
    )
