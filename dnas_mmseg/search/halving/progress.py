"""Console output of a selection: its plan and its progress."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.table import Table

from dnas_mmseg.search.selection.study import Outcome
from dnas_mmseg.search.time import duration

from .plan import SelectionPlan
from .schedule import Pace

_OVERHEAD = 1.15
"""Estimated ratio of the time of a training to that of its steps; the rest is start, validation and
checkpoints."""


def planned_seconds(pace: Pace, samples: int, epochs: int) -> float:
    """Estimate the time of a full training of a typical candidate, in seconds.

    Args:
        pace: Training time per tile.
        samples: Number of tiles to train on.
        epochs: Number of epochs of the full schedule.
    """
    return _OVERHEAD * epochs * samples * pace.seconds(pace.typical)


def show_plan(
    plan: SelectionPlan,
    rungs: Sequence[float],
    full: float,
    counts: Sequence[int],
    epochs: int,
    workers: int,
) -> None:
    """Print number, length and estimated time of the trainings of each rung.

    Args:
        plan: Settings of the selection.
        rungs: Share of the full schedule of each rung.
        full: Seconds of a full training of a typical candidate.
        counts: Number of trainings of each rung.
        epochs: Number of epochs of the full schedule.
        workers: Number of parallel trainings.
    """
    table = Table(title=f'selection in space {plan.network.space}, budget {plan.budget:g}')
    for heading in ('rung', 'trainings', 'typical epochs', 'time each', 'time in total'):
        table.add_column(heading, justify='right')
    total = 0.0
    for share, count in zip(rungs, counts, strict=True):
        seconds = share * full * -(-count // workers)
        total += seconds
        table.add_row(
            f'{share:.3g}',
            str(count),
            str(max(1, round(share * epochs))),
            duration(share * full),
            duration(seconds),
        )
    table.add_row('winner', '1', str(epochs), duration(full), duration(full))
    total += full
    table.add_section()
    table.add_row('all', str(sum(counts) + 1), '', '', duration(total))
    end = datetime.now() + timedelta(seconds=total)
    table.caption = f'{workers} in parallel; estimated end {end:%A %H:%M}'
    Console().print(table)
    if len(rungs) > 1 and round(rungs[0] * epochs) < 2:
        print(
            'note: trainings of one epoch hardly rank networks; use a longer schedule '
            '(--cfg-options train_cfg.max_epochs=...) or --rungs 1/3 1'
        )


class Progress:
    """Progress bars of the rungs, with an estimate of the remaining time.

    If the output is not a terminal, one line per finished training is printed instead.

    Args:
        counts: Number of trainings of each rung.
        rungs: Share of the full schedule of each rung.
        full: Seconds of a full training of a typical candidate.
        workers: Number of parallel trainings.
    """

    def __init__(
        self, counts: Sequence[int], rungs: Sequence[float], full: float, workers: int
    ) -> None:
        self._counts, self._rungs, self._full = counts, rungs, full
        self._workers = workers
        self._began, self._first = time.monotonic(), -1.0
        self._seen: set[str] = set()
        self._bars = Bars(
            TextColumn('{task.description}'),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn('{task.fields[note]}'),
            disable=not sys.stdout.isatty(),
        )
        self._tasks: list[TaskID] = [
            self._bars.add_task(f'rung {rung:.3g}', total=count, note='')
            for rung, count in zip(rungs, counts, strict=True)
        ]

    def __enter__(self) -> Progress:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def update(self, running: Mapping[str, str], outcomes: Mapping[str, Outcome]) -> bool:
        """Update the display, and return whether a training has finished since the last call.

        Args:
            running: Worker names of the running trainings, by key.
            outcomes: Outcomes of the finished trainings, by key.
        """
        done = [0] * len(self._rungs)
        for key in outcomes:
            done[rung_of(key)] += 1
        left = self._seconds_left(done)
        for task, rung_done in zip(self._tasks, done, strict=True):
            self._bars.update(task, completed=rung_done)
        self._bars.update(self._tasks[-1], note=f'{len(running)} running, {duration(left)} left')
        new = [key for key in outcomes if key not in self._seen]
        for key in new if not sys.stdout.isatty() else ():
            outcome = outcomes[key]
            result = outcome.error or f'{outcome.score:.2f}'
            print(
                f'{len(outcomes)} of {sum(self._counts)}  {key}: {result}  ({duration(left)} left)'
            )
        self._seen.update(new)
        return bool(new)

    def _seconds_left(self, done: Sequence[int]) -> float:
        """Estimate the remaining time from the rate since the start of this command."""
        pairs = list(zip(self._counts, self._rungs, done, strict=True))
        finished = sum(rung * count for _, rung, count in pairs)
        if self._first < 0:
            self._first = finished
        left = sum(rung * max(0, total - count) for total, rung, count in pairs)
        gained = finished - self._first
        if gained > 1:
            return left * (time.monotonic() - self._began) / gained
        return left * self._full / self._workers


def rung_of(key: str) -> int:
    """Return the rung index in the key of a training."""
    return int(key.rsplit('-', 2)[1])
