"""Console output of a selection: its plan, and how far it is."""

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
"""Time of a training beside its steps: start, validation, checkpoints."""


def planned_seconds(pace: Pace, samples: int, epochs: int) -> float:
    """Return about how long a full training of a typical candidate takes, in seconds.

    Args:
        pace: Pace of the trainings.
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
    """Print how many trainings of which length there will be, and when they will be done.

    Args:
        plan: Settings of the selection.
        rungs: Share of the full schedule of each rung.
        full: Seconds of a full training of a typical candidate.
        counts: Number of trainings of each rung.
        epochs: Number of epochs of the full schedule.
        workers: Number of trainings at a time.
    """
    table = Table(title=f'selection in space {plan.network.space}, budget {plan.budget:g}')
    for heading in ('rung', 'trainings', 'epochs, typical', 'each, about', 'all, about'):
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
    table.caption = f'{workers} at a time; done about {end:%A %H:%M}'
    Console().print(table)
    if len(rungs) > 1 and round(rungs[0] * epochs) < 2:
        print(
            'note: trainings of one epoch hardly tell which networks are good; give the schedule '
            'more epochs (--cfg-options train_cfg.max_epochs=...), or take --rungs 1/3 1'
        )


class Progress:
    """Bars that show how many trainings of each rung are done, and the time that is left.

    Where the output is no terminal, a line is printed for every training.

    Args:
        counts: Number of trainings of each rung.
        rungs: Share of the full schedule of each rung.
        full: Seconds of a full training of a typical candidate.
        workers: Number of trainings at a time.
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
        """Show what is done, and return whether a training was finished since the last call.

        Args:
            running: Workers of the trainings that are running, by the trainings' keys.
            outcomes: Outcomes of those that are done, by their keys.
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
        """Return the time that is left, by the pace since the start of this command."""
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
    """Return the index of the rung of a training from its name."""
    return int(key.rsplit('-', 2)[1])
