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

from dnas_mmseg.runs.durations import duration

from .lengths import Lengths, Trainings
from .queue import Outcome


def show_plan(lengths: Lengths, trainings: Trainings, workers: int, typical_epoch: float) -> None:
    """Print number, length and estimated time of the trainings of each rung.

    Args:
        lengths: Lengths of the trainings.
        trainings: Trainings of each rung.
        workers: Number of parallel trainings.
        typical_epoch: Seconds of an epoch of a typical candidate.
    """
    table = Table(title=f'selection in {duration(lengths.total)}')
    for heading in ('rung', 'trainings, at most', 'until epoch', 'time each', 'time in total'):
        table.add_column(heading, justify='right')
    before = total = 0.0
    for rung, (length, count) in enumerate(zip(lengths.seconds, trainings.counts, strict=True)):
        each = length - before + lengths.overhead
        seconds = (
            trainings.times[rung] * lengths.longest + trainings.starts[rung] * lengths.overhead
        )
        before, total = length, total + seconds
        table.add_row(
            str(rung + 1),
            str(count),
            f'about {max(1, round(length / typical_epoch))}',
            duration(each),
            duration(seconds),
        )
    rest = max(lengths.total - total, 0.0)
    table.add_row('winner', '1', '', duration(rest), duration(rest))
    end = datetime.now() + timedelta(seconds=total + rest)
    table.caption = (
        f'{workers} in parallel; a promotion continues the training; estimated end {end:%A %H:%M}'
    )
    Console().print(table)
    if lengths.seconds[0] < 2 * typical_epoch:
        print(
            'note: the shortest trainings have about one epoch and hardly rank networks; increase '
            '--hours'
        )


class Progress:
    """Progress bars of the rungs, with an estimate of the remaining time.

    If the output is not a terminal, one line per finished training is printed instead.

    Args:
        trainings: Trainings of each rung.
        lengths: Lengths of the trainings.

    Attributes:
        left: Estimated remaining time of the trainings in seconds; None before the first update.
    """

    def __init__(self, trainings: Trainings, lengths: Lengths) -> None:
        self._counts = trainings.counts
        # Seconds of the selection per training of each rung, with all workers.
        self._rungs = [
            (time * lengths.longest + starts * lengths.overhead) / max(count, 1)
            for time, starts, count in zip(
                trainings.times, trainings.starts, trainings.counts, strict=True
            )
        ]
        self.left: float | None = None
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
            self._bars.add_task(f'rung {rung + 1}', total=count, note='')
            for rung, count in enumerate(trainings.counts)
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
        left = self.left = self._seconds_left(done)
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
        finished = sum(seconds * count for _, seconds, count in pairs)
        if self._first < 0:
            self._first = finished
        left = sum(seconds * max(0, total - count) for total, seconds, count in pairs)
        gained = finished - self._first
        if gained > 2 * self._rungs[0]:
            return left * (time.monotonic() - self._began) / gained
        return left


def rung_of(key: str) -> int:
    """Return the rung index in the key of a training."""
    return int(key.rsplit('-', 2)[1])
