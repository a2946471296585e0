"""What choosing by trainings needs to know: candidates, their costs, scores of trainings."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from dnas_mmseg.errors import UserError

C = TypeVar('C', bound=Hashable)


class SelectionError(UserError):
    """A selection that cannot begin, or has nothing to choose from."""


class Candidates(Protocol[C]):
    """A set of candidates, and what is known of them before any training.

    Attributes:
        fidelities: Cost of one training at each fidelity, in full trainings of a typical candidate,
            ascending; the last is 1.0.
    """

    fidelities: tuple[float, ...]

    def random(self, rng: np.random.Generator) -> C:
        """Draw a candidate evenly."""

    def neighbours(self, candidate: C, rng: np.random.Generator) -> Sequence[C]:
        """Return candidates that differ from one in a single thing; there may be none."""

    def encode(self, candidate: C) -> np.ndarray:
        """Return what a surrogate sees of a candidate, (features,), float."""

    def cost(self, candidate: C) -> float:
        """Return the cost that a limit is about, positive."""


class Problem(Candidates[C], Protocol[C]):
    """A set of candidates that can be trained."""

    def evaluate(self, candidate: C, fidelity: int, seed: int) -> float:
        """Train a candidate and return its score; higher is better.

        Args:
            candidate: The candidate.
            fidelity: Index into ``fidelities``.
            seed: Seed of the training.

        Raises:
            Exception: The training failed; the candidate is out.
        """


class Request(NamedTuple):
    """A training that is to be done.

    Attributes:
        candidate: The candidate.
        fidelity: Index into the problem's fidelities.
        seed: Seed of the training.
    """

    candidate: Any
    fidelity: int
    seed: int


class Trial(NamedTuple):
    """A training that was done.

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
