"""Interfaces of a selection: candidates, trainings requested and completed."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from dnas_mmseg.errors import UserError

C = TypeVar('C', bound=Hashable)


class SelectionError(UserError):
    """A selection that cannot start, or has no candidate to choose from."""


class Candidates(Protocol[C]):
    """A set of candidates with their encodings and costs.

    Three members are optional. ``family(candidate)`` returns a hashable family; encodings are
    comparable within a family only, and each has its own surrogate. ``continues = True`` means that
    a promotion continues the training of the fidelity below and costs the difference, that a
    selection may end before the full fidelity, and that all candidates of a seed are scored on the
    same data, which may be harder than those of another seed. ``noise`` is the standard deviation
    of a score over seeds that is assumed until repeats measure it, and the unit of leads that end a
    selection.

    Attributes:
        fidelities: Cost of one training at each fidelity, relative to a full training of a typical
            candidate; ascending, the last is 1.0.
    """

    fidelities: tuple[float, ...]

    def random(self, rng: np.random.Generator) -> C:
        """Sample a candidate."""

    def neighbours(self, candidate: C, rng: np.random.Generator) -> Sequence[C]:
        """Return candidates that differ from this one in a single choice; possibly none."""

    def encode(self, candidate: C) -> np.ndarray:
        """Return the features of a candidate for the surrogate, (features,), float."""

    def cost(self, candidate: C) -> float:
        """Return the positive cost that ``cost_limit`` bounds, for example multiply-adds."""


class Problem(Candidates[C], Protocol[C]):
    """A set of candidates that can be trained."""

    def evaluate(self, candidate: C, fidelity: int, seed: int) -> float:
        """Train a candidate and return its score; higher is better.

        Args:
            candidate: The candidate.
            fidelity: Index into ``fidelities``.
            seed: Seed of the training.

        Raises:
            Exception: The training failed; the selection discards the candidate.
        """


class Request(NamedTuple):
    """A training to run.

    Attributes:
        candidate: The candidate.
        fidelity: Index into the problem's fidelities.
        seed: Seed of the training.
    """

    candidate: Any
    fidelity: int
    seed: int


class Trial(NamedTuple):
    """A completed or failed training.

    Attributes:
        candidate: The candidate.
        fidelity: Index into the problem's fidelities.
        seed: Seed of the training.
        score: Score of the training; NaN where it failed.
    """

    candidate: Any
    fidelity: int
    seed: int
    score: float
