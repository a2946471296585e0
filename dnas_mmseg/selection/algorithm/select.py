"""Successive halving with a surrogate of each family, and repeats of the best candidates.

The rungs and promotions are those of successive halving (Jamieson and Talwalkar 2016), that is of
one bracket of Hyperband (Li et al. 2018), with three changes. Candidates of the lowest fidelity are
only partly random: the others maximise the upper confidence bound of a surrogate (Bayesian ridge
regression), as BOHB (Falkner et al. 2018) samples from a model, there a kernel density estimate.
Promotion ranks by a weighted mean of a candidate's own score and the surrogate's prediction, and
reserves seats for the best of each kind and of other families and costs.

1. The lowest fidelity trains the initial candidates, random ones, and four batches proposed by the
   surrogates.
2. Each higher fidelity trains the best candidates of the one below it. A candidate without a score
   there is trained only if none is left: the surrogate extrapolates poorly from few scores.
3. The remaining budget repeats the best candidates with other seeds.

Where trainings continue, a candidate whose curve does not reach that of the leader at the full
fidelity is not promoted, and the selection ends at the fidelity at which no other one reaches it
(fidelities are added only while they may change the result, as in PASHA, Bohdal et al. 2023, which
stops when the ranking is the same at two fidelities; that chose worse networks, see
benchmarks/selection_replays.md). What is left of the budget is the winner's.

With a single fidelity, random and proposed candidates are trained at it. The trainings of a batch
are independent of each other, so the result does not depend on the number of workers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic

import numpy as np

from .estimates import Estimates
from .problem import C, Candidates, Problem, Request, SelectionError, Trial
from .promotion import promote

_POOL_SIZE = 3000
"""Maximum number of random candidates that the surrogates rank. More cost time for encoding and
prediction; mutations of the best candidates refine the pool, so it need not be dense."""

_POOL_FACTOR = 64
"""Pool size per candidate of the first rung; a small budget does not profit from a large pool."""

_LOW_FIDELITY_SHARE = 1 / 2
"""Share of the budget for trainings below the full fidelity. More screens more candidates, less
leaves more full trainings to rank them. A quarter was used before candidates without a
low-fidelity score were excluded from promotion."""

_CONTINUED_SHARES = {1: 0.5, 2: 0.6}
"""The same share where trainings continue, by number of low fidelities, which are part of the full
trainings. With ratios of 3 it makes about the numbers of candidates of successive halving: 9, 3, 2
for a budget of 3, and 5, 3 for one of 11/3."""

_RANDOM_SHARE = 1 / 3
"""Share of random candidates among the trainings at the lowest fidelity. More gives the surrogate
a less biased sample and the report a larger random baseline, less leaves more to its proposals."""

_RANDOM_FULL_SHARE = 1 / 4
"""Share of random candidates with a single fidelity. It is smaller than ``_RANDOM_SHARE`` because
each one takes a full training from the proposals."""

_EXPLORATION = 1.0
"""Standard deviations added to the predicted mean (upper confidence bound). 0 only exploits the
surrogate; larger values prefer candidates far from all trained ones."""

_BATCHES = 4
"""Number of batches of proposals. More refit the surrogate more often, fewer keep more workers
busy, as a batch starts when the one before is complete."""

_PROMOTION_BATCHES = 2
"""Number of batches at the full fidelity, where trainings do not continue. The second one uses the
scores of the first; it is fewer than ``_BATCHES`` because there are fewer trainings to divide."""

_REPEATED = 3
"""Number of the best candidates that are repeated. Where trainings continue, all are at once, as a
repeat takes as long as all rungs; otherwise the next one depends on the score of the last."""

_REPEAT_SHARE = 1 / 8
"""Share of the budget for repeats with other seeds: 1 of 12 full trainings, 3 of 24. More reduces
the risk that the winner had a lucky seed, less leaves more candidates to compare."""

_EPS = 1e-9


@dataclass(frozen=True)
class Selection(Generic[C]):
    """Result of a selection.

    Attributes:
        best: The candidate with the highest score.
        cheapest: The cheapest candidate that ``best`` does not lead by a standard error.
        score: Mean of the scores of ``best`` at ``fidelity``.
        fidelity: Index of the fidelity whose scores decided; below the full one if the selection
            ended early.
        undecided: Other candidates that ``best`` leads by less than one standard error.
        noise: Standard deviation of scores over seeds; None if no training was repeated.
        spent: Cost of all trainings, in full trainings.
        trials: All trainings, in order.
        control: First score of each random candidate, as random baseline.
        failures: Error messages by failed candidate.
    """

    best: C
    cheapest: C
    score: float
    fidelity: int
    undecided: tuple[C, ...]
    noise: float | None
    spent: float
    trials: tuple[Trial, ...]
    control: dict[C, float]
    failures: dict[C, str]


_Rung = Generator[list[Request], Sequence[float | Exception], None]
Steps = Generator[list[Request], Sequence[float | Exception], Selection[C]]
"""Generator of batches of trainings: receives their outcomes, returns the result."""


def select(
    problem: Problem[C], budget: float, seed: int, cost_limit: float | None = None
) -> Selection[C]:
    """Find the best candidate within a budget of trainings.

    Args:
        problem: The candidates and their training.
        budget: Maximum cost of all trainings, in full trainings of a typical candidate.
        seed: Random seed; the same seed gives the same result.
        cost_limit: Maximum ``problem.cost`` of a candidate. None sets no limit.

    Returns:
        The winner, with all trainings.

    Raises:
        SelectionError: The budget is less than one full training, no candidate is within the limit,
            or every training at the full fidelity failed.

    Example:
        >>> import numpy as np
        >>> class Widths:
        ...     fidelities = (0.1, 1.0)
        ...     def random(self, rng):
        ...         return int(rng.integers(8, 65))
        ...     def neighbours(self, candidate, rng):
        ...         return [c for c in (candidate - 1, candidate + 1) if 8 <= c <= 64]
        ...     def encode(self, candidate):
        ...         return np.array([candidate], float)
        ...     def cost(self, candidate):
        ...         return float(candidate)
        ...     def evaluate(self, candidate, fidelity, seed):
        ...         return 80 - 0.01 * (candidate - 40) ** 2
        >>> result = select(Widths(), budget=12, seed=0)
        >>> result.best, result.score
        (40, 80.0)
    """
    steps = selection_steps(problem, budget, seed, cost_limit)
    return run_steps(steps, lambda request: problem.evaluate(*request))


def run_steps(steps: Steps[C], evaluate: Callable[[Request], float]) -> Selection[C]:
    """Run the trainings of a selection sequentially, and return its result.

    Args:
        steps: Generator of :func:`selection_steps`.
        evaluate: Function that trains and returns a score. If it raises, the candidate is
            discarded.
    """
    requests = next(steps)
    while True:
        outcomes: list[float | Exception] = []
        for request in requests:
            try:
                outcomes.append(evaluate(request))
            except Exception as error:  # a failed training must not stop the selection
                outcomes.append(error)
        try:
            requests = steps.send(outcomes)
        except StopIteration as finished:
            return finished.value


def selection_steps(
    problem: Candidates[C],
    budget: float,
    seed: int,
    cost_limit: float | None = None,
    initial: Sequence[C] = (),
    kind: Callable[[C], Hashable] | None = None,
) -> Steps[C]:
    """Run the algorithm of :func:`select` as a generator; the caller runs the trainings.

    Args:
        problem: The candidates.
        budget: Maximum cost of all trainings, in full trainings of a typical candidate.
        seed: Random seed.
        cost_limit: Maximum ``problem.cost`` of a candidate.
        initial: Candidates that the first rung trains before others, in order of preference.
        kind: Function that returns the kind of a candidate, by default its family. Promotions
            reserve up to half of the seats, at least two, for the best of each kind.

    Yields:
        A batch of trainings, which may run in any order or in parallel. Send back a list with the
        score or the exception of each, in the order of the batch.

    Returns:
        See :func:`select`.

    Raises:
        SelectionError: See :func:`select`; or an initial candidate exceeds the limit.
    """
    run = _SelectionSteps(problem, budget, seed, cost_limit, initial, kind)
    if not (yield from run.low_fidelity_rungs()):
        yield from run.full_rung()
        yield from run.repeats()
    return run.result()


class _SelectionSteps(Generic[C]):
    """State of a selection."""

    def __init__(
        self,
        problem: Candidates[C],
        budget: float,
        seed: int,
        cost_limit: float | None,
        initial: Sequence[C],
        kind: Callable[[C], Hashable] | None,
    ) -> None:
        self.problem, self.budget, self.limit = problem, budget, cost_limit
        self.continues = bool(getattr(problem, 'continues', False))
        self.family = getattr(problem, 'family', lambda candidate: None)
        self.kind = kind or self.family
        self.rng = np.random.default_rng(seed)
        last = len(problem.fidelities) - 1
        if not budget >= problem.fidelities[last] - _EPS:
            raise SelectionError(
                f'budget = {budget:g}: expected at least 1 full training; 12 or more are '
                'recommended'
            )
        noise = float(getattr(problem, 'noise', 0.0))
        self.estimates: Estimates[C] = Estimates(last + 1, self.family, seed, noise, self.continues)
        self.scores, self.pool = self.estimates.scores, self.estimates.pool
        self.trials: list[Trial] = []
        self.costs: list[float] = []
        self.initial = tuple(dict.fromkeys(initial))
        self.counts = self._rung_sizes()
        self._fill_pool()
        self.control: tuple[C, ...] = ()

    @property
    def full(self) -> int:
        """Index of the fidelity whose scores decide."""
        return self.estimates.full

    def _rung_sizes(self) -> list[int]:
        """Return the number of trainings at each fidelity below the full one."""
        costs = self.problem.fidelities
        if not self.continues:
            share = _LOW_FIDELITY_SHARE * self.budget / max(self.full, 1)
            return [int(share / cost + _EPS) for cost in costs[:-1]]
        # Numbers are inversely proportional to the length of the trainings.
        per_first = sum(
            (costs[f] - (costs[f - 1] if f else 0.0)) * costs[0] / costs[f]
            for f in range(self.full)
        )
        if not per_first:
            return []
        share = _CONTINUED_SHARES[min(len(costs) - 1, max(_CONTINUED_SHARES))]
        first = int(share * self.budget / per_first + _EPS)
        return [int(first * costs[0] / costs[f] + _EPS) for f in range(self.full)]

    def _cost(self, candidate: C, fidelity: int, seed: int = 0) -> float:
        """Return the cost of a training; one that continues costs the difference."""
        cost = self.problem.fidelities[fidelity]
        if self.continues and seed == 0:
            below = [f for f in range(fidelity) if candidate in self.scores[f]]
            cost -= self.problem.fidelities[below[-1]] if below else 0.0
        return cost

    @property
    def spent(self) -> float:
        """Cost of all trainings so far, in full trainings."""
        return min(math.fsum(self.costs), self.budget)  # sums of ninths may exceed it by 1e-16

    @property
    def _left(self) -> float:
        return self.budget - self.spent

    @property
    def _reserve(self) -> int:
        """Budget for repeats, in full trainings."""
        return int(_REPEAT_SHARE * self.budget + _EPS)

    def low_fidelity_rungs(self) -> Generator[list[Request], Sequence[float | Exception], bool]:
        """Train below the full fidelity, in ascending order; return whether the winner is known."""
        for fidelity, size in enumerate(self.counts):
            cost = self.problem.fidelities[fidelity]
            count = min(size, len(self.pool))
            if not count or (not self.continues and self._left - count * cost < 1 - _EPS):
                continue
            if not any(self.scores):
                random = math.ceil(_RANDOM_SHARE * count)
                yield from self._first(random, count, fidelity)
                yield from self._batches(count - len(self.trials), _BATCHES, fidelity)
            else:
                yield from self._train(self._next(count, fidelity), fidelity)
                if self.continues and len(self._contenders(fidelity)) == 1:
                    self.estimates.full = fidelity
                    return True
        return False

    def full_rung(self) -> _Rung:
        """Train the best candidates at the full fidelity."""
        # Continued trainings are few and wait for each other between batches.
        batches = 1 if self.continues else _PROMOTION_BATCHES
        if not any(self.scores):
            batches = _BATCHES
            count = max(1, int(_RANDOM_FULL_SHARE * self.budget + _EPS))
            yield from self._first(count, int(self.budget + _EPS), self.full)
        below = self.problem.fidelities[self.full - 1] if self.full else 0.0
        cost = 1.0 - below if self.continues and any(self.scores[: self.full]) else 1.0
        left = int((self._left - self._reserve) / cost + _EPS)
        yield from self._batches(left, batches, self.full)

    def _batches(self, left: int, batches: int, fidelity: int) -> _Rung:
        """Train ``left`` candidates in a number of batches."""
        size = max(1, math.ceil(left / batches))
        while left > 0 and (batch := self._next(min(size, left), fidelity)):
            yield from self._train(batch, fidelity)
            left -= len(batch)

    def repeats(self) -> _Rung:
        """Repeat the best with other seeds; if repeats cannot help, train other candidates.

        Where trainings continue, only the reserved budget is spent. Repeats may be scored on other
        tiles there, so they only compare candidates that are repeated together.
        """
        keep = max(self._left - self._reserve, 0.0) if self.continues else 0.0
        while self._left - keep >= 1 - _EPS:
            ranked = self.estimates.rank()
            # A variance of zero: scores do not depend on seeds.
            if len(ranked) < 2 or self.estimates.noise_variance == 0:
                break
            # Among the top three, those with the fewest trainings; failed repeats count.
            order = sorted(ranked[:_REPEATED], key=self._full_trainings)
            count = int(self._left - keep + _EPS) if self.continues else 1
            if self.continues and count < 2:
                break
            yield from self._run(
                [Request(c, self.full, self._full_trainings(c)) for c in order[:count]]
            )
        while self._left - keep >= 1 - _EPS:
            batch = self._next(1, self.full)
            if not batch:
                break
            yield from self._train(batch, self.full)

    def result(self) -> Selection[C]:
        """Return the best candidate, and the cheapest that is not clearly worse."""
        if self.continues:  # perhaps all failed at the full fidelity
            while self.full > 0 and not self.estimates.rank(self.full):
                self.estimates.full -= 1
        ranked = [c for c in self.estimates.rank() if self._affordable(c)]
        if not ranked:
            raise SelectionError(
                'every training at the full fidelity failed; the first: '
                + next(iter(self.estimates.failures.values()), 'none was within the cost limit')
            )
        repeated = [c for c in ranked if len(self.scores[self.full][c]) > 1]
        # If scores depend on seeds, a single one is no sufficient evidence.
        noise = self.estimates.noise_variance
        best = repeated[0] if repeated and noise else ranked[0]
        near = tuple(c for c in ranked if c != best and not self.estimates.leads(best, c))
        first = self.scores[self.trials[0].fidelity]
        return Selection(
            best=best,
            cheapest=min((best, *near), key=self.problem.cost),
            score=self.estimates.mean(best, self.full),
            fidelity=self.full,
            undecided=near,
            noise=None if noise is None else math.sqrt(noise),
            spent=self.spent,
            trials=tuple(self.trials),
            control={c: first[c][0] for c in self.control if c in first},
            failures=dict(self.estimates.failures),
        )

    def _fill_pool(self) -> None:
        for candidate in self.initial:
            self._add_to_pool(candidate)
            if candidate not in self.pool:
                raise SelectionError(
                    f'initial candidate {candidate} costs {self.problem.cost(candidate):.4g}, more '
                    f'than the limit of {self.limit:.4g}'
                )
        first = self.counts[0] if self.counts else int(self.budget)
        size = min(_POOL_SIZE, _POOL_FACTOR * max(first, 1))
        seen: set[C] = set()
        repeated = 0
        # A small space is exhausted when about as many samples as it has candidates are repeats.
        while len(seen) < size and repeated < 50 + len(seen):
            candidate = self.problem.random(self.rng)
            repeated = repeated + 1 if candidate in seen else 0
            seen.add(candidate)
            self._add_to_pool(candidate)
        if not self.pool:
            raise SelectionError(
                f'none of {len(seen)} random candidates costs at most {self.limit:g}: increase the '
                'limit'
            )

    def _add_to_pool(self, candidate: C) -> None:
        """Add a candidate to the pool if it is within the limit."""
        if candidate not in self.pool and self._affordable(candidate):
            code = np.asarray(self.problem.encode(candidate), float)
            cost = max(self.problem.cost(candidate), 1e-12)
            self.estimates.add_candidate(candidate, np.append(code, np.log(cost)))

    def _affordable(self, candidate: C) -> bool:
        return self.limit is None or self.problem.cost(candidate) <= self.limit

    def _first(self, count: int, limit: int, fidelity: int) -> _Rung:
        """Train the initial candidates and ``count`` random ones, at most ``limit`` together.

        Random candidates are taken from the families in turn.
        """
        pool = [c for c in self.pool if c not in self.initial]
        members: dict[Hashable, list[C]] = {}
        for i in self.rng.permutation(len(pool)):
            members.setdefault(self.family(pool[i]), []).append(pool[i])
        turns = [own[i] for i in range(count) for own in members.values() if i < len(own)]
        initial = self.initial[:limit]
        self.control = tuple(turns[: min(count, limit - len(initial))])
        yield from self._train([*initial, *self.control], fidelity)
        if not self.scores[fidelity]:
            raise SelectionError(
                f'all {len(self.estimates.failures)} trainings of the first rung failed; the '
                'first: ' + next(iter(self.estimates.failures.values()), 'none was started')
            )

    def _train(self, candidates: Sequence[C], fidelity: int) -> _Rung:
        yield from self._run([Request(candidate, fidelity, 0) for candidate in candidates])

    def _run(self, requests: list[Request]) -> _Rung:
        if not requests:
            return
        outcomes = yield requests
        for (candidate, fidelity, seed), outcome in zip(requests, outcomes, strict=True):
            score = math.nan if isinstance(outcome, Exception) else float(outcome)
            self.costs.append(self._cost(candidate, fidelity, seed))
            self.trials.append(Trial(candidate, fidelity, seed, score))
            if math.isfinite(score):
                self.estimates.add_score(candidate, fidelity, seed, score)
            elif seed == 0:  # a failed repeat leaves the scores of the other seeds
                self.estimates.add_failure(candidate, str(outcome))

    def _full_trainings(self, candidate: C) -> int:
        """Return the number of full trainings of a candidate."""
        return sum(t.candidate == candidate and t.fidelity == self.full for t in self.trials)

    def _contenders(self, fidelity: int) -> list[C]:
        return self.estimates.contenders(fidelity, self.problem.fidelities)

    def _next(self, count: int, fidelity: int) -> list[C]:
        """Return candidates to train at a fidelity, at most ``count``.

        They are the best of those trained at the fidelity below; where trainings continue, of those
        that may reach the leader there. If none of these is left, they are proposals: those of the
        pool, extended by neighbours of the best, with the highest upper confidence bounds. Where
        trainings continue, only the first rung has proposals.
        """
        done, below = self.scores[fidelity], fidelity - 1
        if self.continues:  # perhaps all failed at the fidelity below
            while below > 0 and not self.estimates.rank(below):
                below -= 1
        trained: list[C] = []
        if below >= 0:
            contend = self.continues and below > 0
            trained = self._contenders(below) if contend else list(self.scores[below])
        promoted = [c for c in trained if c in self.pool and c not in done]
        if promoted:
            mean, _ = self.estimates.predict(promoted, fidelity)
            present = {self.kind(c) for c in done}
            ranked = [promoted[i] for i in np.argsort(-mean, kind='stable')]
            return promote(ranked, count, present, self.kind, self.family, self.problem.cost)
        if self.continues and trained:
            return []
        for candidate in [c for c in self.estimates.rank(fidelity) if c in self.pool][:3]:
            for other in self.problem.neighbours(candidate, self.rng):
                self._add_to_pool(other)
        candidates = [c for c in self.pool if c not in done and c not in self.estimates.failures]
        if not candidates:
            return []
        mean, deviation = self.estimates.predict(candidates, fidelity)
        order = np.argsort(-(mean + _EXPLORATION * deviation), kind='stable')
        return [candidates[i] for i in order[:count]]
