"""Successive halving with a surrogate model, and repeats of the best candidates.

The rungs and promotions are those of successive halving (Jamieson and Talwalkar 2016), that is of
one bracket of Hyperband (Li et al. 2018), with two changes. Candidates of the lowest fidelity are
only partly random: the others maximise the upper confidence bound of a surrogate (Bayesian ridge
regression), as BOHB (Falkner et al. 2018) samples from a model, there a kernel density estimate.
Promotion ranks by a weighted mean of a candidate's own score and the surrogate's prediction.

1. Half of the budget trains candidates below the full fidelity, divided equally among the
   fidelities. A third of the trainings at the lowest one are random, the rest four batches proposed
   by the surrogate.
2. Each higher fidelity trains the best candidates of the one below it. A candidate without a score
   there is trained only if none is left: the surrogate extrapolates poorly from few scores.
3. The remaining budget repeats the best candidates with other seeds.

With a single fidelity, random and proposed candidates are trained at it. The trainings of a batch
are independent of each other, so the result does not depend on the number of workers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Generic

import numpy as np
from scipy import stats

from .problem import C, Candidates, Problem, Request, SelectionError, Trial
from .surrogate import Surrogate

STRATEGIES = ('halving', 'random')
"""The algorithm of this module, and random search at the full fidelity as its baseline."""

_POOL_SIZE = 3000
"""Maximum number of random candidates that the surrogate ranks. More cost time for encoding and
prediction; mutations of the best candidates refine the pool, so it need not be dense."""

_LOW_FIDELITY_SHARE = 1 / 2
"""Share of the budget for trainings below the full fidelity. More screens more candidates, less
leaves more full trainings to rank them. A quarter was used before candidates without a
low-fidelity score were excluded from promotion."""

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
"""Number of batches at the full fidelity. The second one uses the scores of the first; it is fewer
than ``_BATCHES`` because there are fewer trainings to divide."""

_REPEAT_SHARE = 1 / 8
"""Share of the budget for repeats with other seeds: 1 of 12 full trainings, 3 of 24. More reduces
the risk that the winner had a lucky seed, less leaves more candidates to compare."""

_OWN_WEIGHT = 2 / 3
"""Weight of a candidate's own score in its estimate; the rest is the surrogate's prediction. 1
promotes lucky scores, 0 ignores what the features do not explain."""

_MIN_SCORES = 3
"""Minimum number of scores to fit a surrogate."""

_MIN_PROMOTED_SCORES = 6
"""Minimum number of scores to fit a surrogate of promoted candidates. They were selected for high
scores, so their scores vary less and each carries less information."""

_EPS = 1e-9


@dataclass(frozen=True)
class Selection(Generic[C]):
    """Result of a selection.

    Attributes:
        best: The winner.
        score: Mean of its scores at the full fidelity.
        undecided: Other candidates whose scores differ from the best by less than one standard
            error; the winner is the cheaper one of the best and the next. Empty if the best leads.
        noise: Standard deviation of scores over seeds; None if no training was repeated.
        spent: Cost of all trainings, in full trainings.
        trials: All trainings, in order.
        control: First score of each random candidate, as random baseline.
        failures: Error messages by failed candidate.
    """

    best: C
    score: float
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
    baselines: Sequence[C] = (),
    strategy: str = 'halving',
) -> Steps[C]:
    """Run the algorithm of :func:`select` as a generator; the caller runs the trainings.

    Args:
        problem: The candidates.
        budget: Maximum cost of all trainings, in full trainings of a typical candidate.
        seed: Random seed.
        cost_limit: Maximum ``problem.cost`` of a candidate; baselines above it cannot win.
        initial: Candidates that the first rung always contains.
        baselines: Candidates outside the space that are trained only at the full fidelity; of
            ``problem`` they need only ``cost``.
        strategy: One of :data:`STRATEGIES`.

    Yields:
        A batch of trainings, which may run in any order or in parallel. Send back a list with the
        score or the exception of each, in the order of the batch.

    Returns:
        See :func:`select`.

    Raises:
        SelectionError: See :func:`select`; or an initial candidate exceeds the limit.
    """
    run = _SelectionSteps(problem, budget, seed, cost_limit, initial, baselines)
    if strategy == 'random':
        yield from run.random_rung()
    else:
        yield from run.low_fidelity_rungs()
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
        baselines: Sequence[C],
    ) -> None:
        self.problem, self.budget, self.limit = problem, budget, cost_limit
        self.seed = seed
        self.rng = np.random.default_rng(seed)
        self.full = len(problem.fidelities) - 1
        if not budget >= problem.fidelities[self.full]:
            raise SelectionError(
                f'budget = {budget:g}: expected at least 1 full training; 12 or more are '
                'recommended'
            )
        self.trials: list[Trial] = []
        self.scores: list[dict[C, list[float]]] = [{} for _ in problem.fidelities]
        self.failures: dict[C, str] = {}
        self.codes: dict[C, np.ndarray] = {}
        self._surrogates: dict[int, tuple[int, Surrogate | None]] = {}
        self.pool: dict[C, None] = {}
        self.initial = tuple(dict.fromkeys(initial))
        self.baselines = tuple(dict.fromkeys(baselines))
        self._fill_pool()
        self.control: tuple[C, ...] = ()

    @property
    def spent(self) -> float:
        """Cost of all trainings so far, in full trainings."""
        return math.fsum(self.problem.fidelities[trial.fidelity] for trial in self.trials)

    def low_fidelity_rungs(self) -> _Rung:
        """Train below the full fidelity, in ascending order."""
        fidelities = self.problem.fidelities[: self.full]
        for fidelity, cost in enumerate(fidelities):
            share = _LOW_FIDELITY_SHARE * self.budget / len(fidelities)
            count = min(int(share / cost + _EPS), len(self.pool))
            if not count or self.budget - self.spent - count * cost < 1 - _EPS:
                continue
            if not any(self.scores):
                yield from self._first(math.ceil(_RANDOM_SHARE * count), count, fidelity)
                yield from self._batches(count - len(self.trials), _BATCHES, fidelity)
            else:
                yield from self._train(self._best_predicted(count, fidelity), fidelity)

    def full_rung(self) -> _Rung:
        """Train the baselines and the best candidates at the full fidelity."""
        batches = _PROMOTION_BATCHES
        if not any(self.scores):
            batches = _BATCHES
            count = max(1, int(_RANDOM_FULL_SHARE * self.budget + _EPS))
            yield from self._first(count, int(self.budget + _EPS), self.full)
        if self.baselines:
            yield from self._train(
                self.baselines[: int(self.budget - self.spent + _EPS)], self.full
            )
        reserve = int(_REPEAT_SHARE * self.budget + _EPS)
        left = int(self.budget - self.spent - reserve + _EPS)
        yield from self._batches(left, batches, self.full)

    def _batches(self, left: int, batches: int, fidelity: int) -> _Rung:
        """Train ``left`` candidates in a number of batches."""
        size = max(1, math.ceil(left / batches))
        while left > 0 and (batch := self._best_predicted(min(size, left), fidelity)):
            yield from self._train(batch, fidelity)
            left -= len(batch)

    def random_rung(self) -> _Rung:
        """Train initial candidates, baselines and random ones at the full fidelity."""
        fixed = [*self.initial, *self.baselines]
        left = int(self.budget + _EPS)
        pool = [c for c in self.pool if c not in self.initial]
        order = self.rng.permutation(len(pool))[: max(0, left - len(fixed))]
        self.control = tuple(pool[i] for i in order)
        yield from self._train([*fixed, *self.control][:left], self.full)

    def repeats(self) -> _Rung:
        """Repeat the best with other seeds; if repeats cannot help, train other candidates."""
        while self.budget - self.spent >= 1 - _EPS:
            ranked = self._ranked()
            if len(ranked) < 2 or self._noise_variance() == 0:  # scores do not depend on seeds
                break
            # Among the top three, the one with the fewest scores.
            candidate = min(ranked[:3], key=lambda c: len(self.scores[self.full][c]))
            seed = len(self.scores[self.full][candidate])
            yield from self._train([candidate], self.full, seed)
        while self.budget - self.spent >= 1 - _EPS:
            batch = self._best_predicted(1, self.full)
            if not batch:
                break
            yield from self._train(batch, self.full)

    def result(self) -> Selection[C]:
        """Return the best candidate, or the next one if it is cheaper and the lead undecided."""
        ranked = [c for c in self._ranked() if self._affordable(c)]
        if not ranked:
            raise SelectionError(
                'every training at the full fidelity failed; the first: '
                + next(iter(self.failures.values()), 'none was within the cost limit')
            )
        repeated = [c for c in ranked if len(self.scores[self.full][c]) > 1]
        # If scores depend on seeds, a single one is no sufficient evidence.
        noise = self._noise_variance()
        best = repeated[0] if repeated and noise else ranked[0]
        near = [c for c in ranked if c != best and not self._leads(best, c)]
        # Only the next one may win: few repeats can overestimate the noise, and ``near`` with it.
        winner = min((best, *near[:1]), key=self.problem.cost)
        rest = tuple(c for c in (best, *near) if c != winner)
        first = self.scores[self.trials[0].fidelity]
        return Selection(
            best=winner,
            score=float(np.mean(self.scores[self.full][winner])),
            undecided=rest,
            noise=None if noise is None else math.sqrt(noise),
            spent=self.spent,
            trials=tuple(self.trials),
            control={c: first[c][0] for c in self.control if c in first},
            failures=dict(self.failures),
        )

    def _fill_pool(self) -> None:
        for candidate in self.initial:
            self._add_to_pool(candidate)
            if candidate not in self.pool:
                raise SelectionError(
                    f'initial candidate {candidate} costs {self.problem.cost(candidate):.4g}, more '
                    f'than the limit of {self.limit:.4g}'
                )
        seen: set[C] = set()
        repeated = 0
        # A small space is exhausted when about as many samples as it has candidates are repeats.
        while len(seen) < _POOL_SIZE and repeated < 50 + len(seen):
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
        if candidate in self.pool:
            return
        if self._affordable(candidate):
            self.pool[candidate] = None
            code = np.asarray(self.problem.encode(candidate), float)
            cost = max(self.problem.cost(candidate), 1e-12)
            self.codes[candidate] = np.append(code, np.log(cost))

    def _affordable(self, candidate: C) -> bool:
        return self.limit is None or self.problem.cost(candidate) <= self.limit

    def _first(self, count: int, limit: int, fidelity: int) -> _Rung:
        """Train the initial candidates and ``count`` random ones, at most ``limit`` together."""
        pool = [c for c in self.pool if c not in self.initial]
        order = self.rng.permutation(len(pool))[:count]
        initial = self.initial[:limit]
        self.control = tuple(pool[i] for i in order[: limit - len(initial)])
        yield from self._train([*initial, *self.control], fidelity)
        if not self.scores[fidelity]:
            raise SelectionError(
                f'all {len(self.failures)} trainings of the first rung failed; the first: '
                + next(iter(self.failures.values()), 'none was started')
            )

    def _train(self, candidates: Sequence[C], fidelity: int, seed: int = 0) -> _Rung:
        outcomes = yield [Request(candidate, fidelity, seed) for candidate in candidates]
        for candidate, outcome in zip(candidates, outcomes, strict=True):
            score = math.nan if isinstance(outcome, Exception) else float(outcome)
            failed = not math.isfinite(score)
            self.trials.append(Trial(candidate, fidelity, seed, score))
            if failed:
                self.failures[candidate] = str(outcome)
                self.pool.pop(candidate, None)
            else:
                self.scores[fidelity].setdefault(candidate, []).append(score)

    def _best_predicted(self, count: int, fidelity: int) -> list[C]:
        """Return candidates not yet trained at a fidelity, the highest predicted score first.

        They are those trained at the fidelity below; if none of these is left, those of the pool,
        extended by neighbours of the best.

        Args:
            count: Maximum number of candidates.
            fidelity: Index of the fidelity.
        """
        done = self.scores[fidelity]
        below = self.scores[fidelity - 1] if fidelity > 0 else {}
        promoted = [c for c in below if c in self.pool and c not in done]
        if promoted:
            mean, _ = self._predicted(promoted, fidelity)
            return [promoted[i] for i in np.argsort(-mean, kind='stable')[:count]]
        for candidate in [c for c in self._ranked(fidelity) if c in self.codes][:3]:
            for other in self.problem.neighbours(candidate, self.rng):
                self._add_to_pool(other)
        candidates = [c for c in self.pool if c not in done and c not in self.failures]
        if not candidates:
            return []
        mean, deviation = self._predicted(candidates, fidelity)
        order = np.argsort(-(mean + _EXPLORATION * deviation), kind='stable')
        return [candidates[i] for i in order[:count]]

    def _predicted(self, candidates: Sequence[C], fidelity: int) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of predicted scores at a fidelity, (candidates,) each.

        If the fidelity has too few scores, the mean is the estimate at the fidelity below (0 at the
        lowest one) and the deviation is 0.
        """
        surrogate = self._surrogate(fidelity)
        if surrogate is not None:
            return surrogate.predict(self._features(candidates, fidelity))
        zeros = np.zeros(len(candidates))
        return (self._estimates(candidates, fidelity - 1) if fidelity > 0 else zeros), zeros

    def _estimates(self, candidates: Sequence[C], fidelity: int) -> np.ndarray:
        """Return estimated scores at a fidelity, (candidates,).

        The estimate is the prediction. For trained candidates it is shifted towards their own mean
        score by ``_OWN_WEIGHT``.
        """
        estimates, _ = self._predicted(candidates, fidelity)
        for i, candidate in enumerate(candidates):
            if candidate in self.scores[fidelity]:
                score = float(np.mean(self.scores[fidelity][candidate]))
                estimates[i] += _OWN_WEIGHT * (score - estimates[i])
        return estimates

    def _surrogate(self, fidelity: int) -> Surrogate | None:
        """Return the surrogate of a fidelity, refitted after new trials; None with few scores."""
        trials, model = self._surrogates.get(fidelity, (-1, None))
        if trials != len(self.trials):
            scores = {c: own for c, own in self.scores[fidelity].items() if c in self.codes}
            failed = [c for c in self.failures if c in self.codes]
            model = None
            if len(scores) >= (
                _MIN_PROMOTED_SCORES if any(self.scores[:fidelity]) else _MIN_SCORES
            ):
                means = [float(np.mean(own)) for own in scores.values()]
                # The worst score of a failed candidate keeps proposals away from similar ones.
                means += [min(means)] * len(failed)
                rows = self._features([*scores, *failed], fidelity)
                among = self._features(list(dict.fromkeys((*self.pool, *scores))), fidelity)
                model = Surrogate(rows, np.array(means), self.seed, among)
            self._surrogates[fidelity] = len(self.trials), model
        return model

    def _features(self, candidates: Sequence[C], fidelity: int) -> np.ndarray:
        """Return encoding and log cost, with the estimate at the fidelity below if there is one."""
        codes = np.stack([self.codes[c] for c in candidates])
        if fidelity == 0 or self._surrogate(fidelity - 1) is None:
            return codes
        return np.c_[codes, self._estimates(candidates, fidelity - 1)]

    def _ranked(self, fidelity: int | None = None) -> list[C]:
        """Return the trained candidates of a fidelity (the full one by default), the best first.

        At the full fidelity, mean scores are shrunk towards the mean of all candidates by their
        signal-to-noise ratio (empirical Bayes, as the James-Stein estimator): the maximum of many
        single scores is biased upwards.
        """
        scores = self.scores[self.full if fidelity is None else fidelity]
        alive = [c for c in scores if c not in self.failures]
        means = {c: float(np.mean(scores[c])) for c in alive}
        noise = self._noise_variance() if fidelity is None else 0.0
        if noise and len(alive) > 2:
            center = float(np.mean(list(means.values())))
            share = float(np.mean([noise / len(scores[c]) for c in alive]))
            between = max(float(np.var(list(means.values()), ddof=1)) - share, 0.1 * noise)
            for c in alive:
                weight = between / (between + noise / len(scores[c]))
                means[c] = center + weight * (means[c] - center)
        return sorted(alive, key=lambda c: -means[c])

    def _noise_variance(self) -> float | None:
        """Return the pooled variance of scores over seeds; None if no training was repeated."""
        scores = self.scores[self.full].values()
        if not self._repeats():
            return None
        return float(sum(((np.array(s) - np.mean(s)) ** 2).sum() for s in scores) / self._repeats())

    def _repeats(self) -> int:
        """Return the number of repeats, the degrees of freedom of the pooled variance."""
        return sum(len(own) - 1 for own in self.scores[self.full].values())

    def _leads(self, first: C, second: C) -> bool:
        """Return whether a candidate leads another by one standard error of their difference.

        The standard error is multiplied by the quantile of Student's t distribution at the level of
        one normal standard deviation, because few repeats may underestimate the noise.
        """
        one, two = self.scores[self.full][first], self.scores[self.full][second]
        error = 0.0
        if noise := self._noise_variance():
            error = math.sqrt(noise * (1 / len(one) + 1 / len(two)))
            error *= stats.t.ppf(stats.norm.cdf(1), self._repeats())
        return float(np.mean(one) - np.mean(two)) > error
