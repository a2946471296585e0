"""Lengths and numbers of the trainings of a selection, derived from its hours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .algorithm import selection_steps

ETA = 3
"""Ratio of the lengths of two rungs, as in Hyperband (Li et al. 2018)."""

_RUNGS = 3
"""Largest number of rungs; a ninth of the last one is the shortest training that still ranks
networks (Kendall's tau 0.54, benchmarks/selection.md)."""

_START = 5.0
"""Seconds to build, load and save a training."""

_LEAST_BUDGETS = {1: 3.0, 2: 11 / 3, 3: 3.0}
"""Smallest budget by number of rungs: nine candidates on three rungs, of which up to two reach the
last one; five on two rungs, of which three do; three on a single rung."""

_MANY = 1000
"""Number of candidates for which trainings are counted where there are more."""


@dataclass(frozen=True)
class Trainings:
    """Trainings of a comparison if none fails and all rungs are needed.

    Attributes:
        counts: Number of trainings of each rung.
        starts: Number of starts one after another, of each rung: a worker starts the trainings of
            a batch in turn, and a repeat starts once per rung.
        times: Time of each rung, in trainings of the last rung.
        cost: Cost of all trainings, in trainings of the last rung.
    """

    counts: tuple[int, ...]
    starts: tuple[int, ...]
    times: tuple[float, ...]
    cost: float


@dataclass(frozen=True)
class Lengths:
    """Lengths of the trainings of a selection.

    Attributes:
        seconds: Training time until the end of each rung, ascending. Empty if the hours do not
            suffice for a second candidate.
        budget: Budget of the contest, in trainings of the last rung.
        total: Time of the whole selection in seconds, for the winner if there is no contest.
        overhead: Seconds of a training for its start and its validation.
    """

    seconds: tuple[float, ...]
    budget: float
    total: float
    overhead: float

    @property
    def fidelities(self) -> tuple[float, ...]:
        """Length of each rung, relative to the last one."""
        return tuple(length / self.seconds[-1] for length in self.seconds)

    @property
    def longest(self) -> float:
        """Training time until the end of the last rung, in seconds."""
        return self.seconds[-1]

    def to_document(self) -> dict[str, Any]:
        """Return the lengths as a JSON object."""
        return asdict(self)

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Lengths:
        """Return the lengths of a document of :meth:`to_document`."""
        seconds = tuple(float(value) for value in document['seconds'])
        budget, total, overhead = (float(document[k]) for k in ('budget', 'total', 'overhead'))
        return cls(seconds, budget, total, overhead)


def fit_lengths(
    seconds: float,
    workers: int,
    epoch: float,
    least: float,
    schedule: float,
    validation: float,
    initial: int = 0,
    available: float = _MANY,
) -> Lengths:
    """Derive rungs and budget from the time of a selection.

    The training of the last rung and the winner's further training take at least two fifths of the
    time. Up to 16 times the user's own schedule with one worker, more time only lengthens the
    trainings; beyond, it lengthens them and adds candidates by the same factor.

    Args:
        seconds: Time of the selection, with the training of the winner.
        workers: Number of parallel trainings.
        epoch: Seconds of an epoch of a typical candidate; no training is shorter.
        least: Seconds of the shortest training that ranks networks. Where the first of three rungs
            would be shorter, there are two, with fewer candidates.
        schedule: Seconds of the schedule of the user's config.
        validation: Seconds of a validation of a typical candidate.
        initial: Number of initial candidates.
        available: Number of all candidates.

    Example:
        >>> lengths = fit_lengths(3600, 1, epoch=10, least=60, schedule=600, validation=2)
        >>> [round(length) for length in lengths.seconds], round(lengths.budget, 1)
        ([97, 291, 874], 3.0)
    """
    overhead = _START + validation
    for rungs in range(_RUNGS, 0, -1):
        fidelities = tuple(ETA ** (k + 1.0 - rungs) for k in range(rungs))
        budget = max(_LEAST_BUDGETS[rungs], workers * (math.sqrt(seconds / schedule) - 1))
        trainings = count_trainings(fidelities, budget, initial, available, workers)
        starting = overhead * (sum(trainings.starts) + 1)
        longest = (seconds - starting) / (math.fsum(trainings.times) + 1)
        if longest * fidelities[0] >= max(epoch, least if rungs == _RUNGS else 0.0):
            return Lengths(tuple(longest * f for f in fidelities), budget, seconds, overhead)
    return Lengths((), 0.0, seconds, overhead)


class _Numbers:
    """Integers as candidates, to count the trainings of a selection without building networks."""

    continues = True
    noise = math.inf  # no lead is final, so that the largest numbers are counted

    def __init__(self, fidelities: tuple[float, ...], available: int) -> None:
        self.fidelities, self._available = fidelities, available

    def random(self, rng: np.random.Generator) -> int:
        return int(rng.integers(self._available))

    def neighbours(self, candidate: int, rng: np.random.Generator) -> list[int]:
        return []

    def encode(self, candidate: int) -> np.ndarray:
        return np.array([candidate], float)

    def cost(self, candidate: int) -> float:
        return 1.0


def count_trainings(
    fidelities: tuple[float, ...], budget: float, initial: int, available: float, workers: int
) -> Trainings:
    """Count the trainings of a comparison by running its algorithm on numbers.

    Args:
        fidelities: Length of each rung, relative to the last one.
        budget: Budget of the selection, in trainings of the last rung.
        initial: Number of initial candidates.
        available: Number of all candidates.
        workers: Number of parallel trainings; a batch waits for the one before.
    """
    available = int(min(available, _MANY))
    counts, starts = [0] * len(fidelities), [0] * len(fidelities)
    times, cost = [0.0] * len(fidelities), 0.0
    steps = selection_steps(_Numbers(fidelities, available), budget, 0, None, range(initial))
    rng = np.random.default_rng(0)
    batch = next(steps)
    while True:
        rung, seed = batch[0].fidelity, batch[0].seed
        rounds = math.ceil(len(batch) / workers)
        # A repeat has all rungs, a promotion only the last one.
        begun = fidelities[rung - 1] if rung and not seed else 0.0
        counts[rung] += len(batch)
        starts[rung] += rounds * (rung + 1 if seed else 1)
        times[rung] += rounds * (fidelities[rung] - begun)
        cost += len(batch) * (fidelities[rung] - begun)
        try:
            batch = steps.send(rng.normal(size=len(batch)).tolist())
        except StopIteration:
            return Trainings(tuple(counts), tuple(starts), tuple(times), cost)
