"""Choosing the best candidate by trainings: cheap ones first, a surrogate, repeats at the end.

Half of the budget goes into the cheapest fidelity: candidates that are drawn, then, batch after
batch, those whose predicted score, plus its deviation, is the highest. From fidelity to fidelity
the best of those that were trained are promoted, by their scores and the predictions together:
what is only predicted is never trained fully, as a surrogate of a few scores is wrong where nothing
was tried. What is left of the budget repeats the best ones with other seeds. Where the full
fidelity is the only one, it is treated as the cheapest. Promotion is by batch, so that one worker
and many give the same winner.
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
"""The algorithm, and full trainings of candidates that are drawn, which it must beat."""

_POOL = 3000
"""Candidates that are drawn to choose from, at most."""

_CHEAP_SHARE = 1 / 2
"""Share of the budget that goes into trainings below the full fidelity."""

_DRAWN_SHARE = 1 / 3
"""Share of the cheapest trainings that are of drawn candidates; the rest is of chosen ones."""

_DRAWN_FULL_SHARE = 1 / 4
"""The same where there is no other fidelity than the full one."""

_CURIOSITY = 1.0
"""Deviations of the prediction that are added to its mean."""

_BATCHES = 4
"""Batches of chosen candidates."""

_PROMOTIONS = 2
"""Batches that are promoted to the full fidelity."""

_REPEATED_SHARE = 1 / 8
"""Share of the budget that is kept for training the best candidates with other seeds."""

_OWN_WEIGHT = 2 / 3
"""Weight of a candidate's own score at a fidelity, beside what the others' say of it."""

_FEW = 3
"""Scores below which nothing is predicted from them."""

_FEW_PROMOTED = 6
"""The same for candidates that were promoted: they are all good, and tell less."""

_EPS = 1e-9


@dataclass(frozen=True)
class Selection(Generic[C]):
    """Result of a selection.

    Attributes:
        best: The winner.
        score: Mean of its scores at the full fidelity.
        undecided: Other candidates that one standard error does not tell from the best; of the
            best and the next one, the cheaper is the winner. Empty where the best leads.
        noise: Deviation of scores over seeds; None where no training was repeated, and nothing is
            known of how sure the order is.
        spent: Cost of all trainings, in full trainings.
        trials: All trainings, in order.
        control: Candidates that were drawn evenly, each with its first score: what chance finds,
            beside what was chosen.
        failures: What went wrong, by candidate.
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
"""Batches of trainings that take their outcomes, and end with the result."""


def select(
    problem: Problem[C], budget: float, seed: int, cost_limit: float | None = None
) -> Selection[C]:
    """Choose the best candidate that a budget of trainings can find.

    Args:
        problem: The candidates.
        budget: Cost of all trainings together, in full trainings.
        seed: Seed of everything that is drawn; the same seed gives the same result.
        cost_limit: Largest cost of a candidate, as ``problem.cost`` gives it.

    Returns:
        The winner, with all trainings.

    Raises:
        SelectionError: The budget is below one full training, no candidate is within the limit, or
            every training at the full fidelity failed.
    """
    steps = selection_steps(problem, budget, seed, cost_limit)
    return run_steps(steps, lambda request: problem.evaluate(*request))


def run_steps(steps: Steps[C], evaluate: Callable[[Request], float]) -> Selection[C]:
    """Do the trainings of a selection one after another, and return its result.

    Args:
        steps: Steps of :func:`selection_steps`.
        evaluate: Function that trains and returns a score; where it raises, the candidate is out.
    """
    requests = next(steps)
    while True:
        outcomes: list[float | Exception] = []
        for request in requests:
            try:
                outcomes.append(evaluate(request))
            except Exception as error:  # whatever a training fails by, the others go on
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
    given: Sequence[C] = (),
    baselines: Sequence[C] = (),
    strategy: str = 'halving',
) -> Steps[C]:
    """Run the algorithm of :func:`select` and leave the trainings to the caller.

    Args:
        problem: The candidates.
        budget: Cost of all trainings together, in full trainings.
        seed: Seed of everything that is drawn.
        cost_limit: Largest cost of the winner.
        given: Candidates that are in the first rung for certain.
        baselines: Others, of which only the cost is asked, that take part at the full fidelity.
        strategy: One of :data:`STRATEGIES`.

    Yields:
        Trainings that may be done in any order, at the same time; to be sent back are their scores
        in the order of the requests, or what went wrong.

    Returns:
        As :func:`select`.

    Raises:
        SelectionError: As :func:`select`, or a given candidate costs more than the limit.
    """
    run = _SelectionSteps(problem, budget, seed, cost_limit, given, baselines)
    if strategy == 'random':
        yield from run.random_rung()
    else:
        yield from run.cheap_rungs()
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
        given: Sequence[C],
        baselines: Sequence[C],
    ) -> None:
        self.problem, self.budget, self.limit = problem, budget, cost_limit
        self.seed = seed
        self.rng = np.random.default_rng(seed)
        self.full = len(problem.fidelities) - 1
        if not budget >= problem.fidelities[self.full]:
            raise SelectionError(
                f'budget = {budget:g}: at least one full training, 1, is needed; with 12 or more '
                'a choice begins to pay'
            )
        self.trials: list[Trial] = []
        self.scores: list[dict[C, list[float]]] = [{} for _ in problem.fidelities]
        self.failures: dict[C, str] = {}
        self.codes: dict[C, np.ndarray] = {}
        self._surrogates: dict[int, tuple[int, Surrogate | None]] = {}
        self.pool: dict[C, None] = {}
        self.given, self.baselines = tuple(dict.fromkeys(given)), tuple(dict.fromkeys(baselines))
        self._fill_pool()
        self.control: tuple[C, ...] = ()

    @property
    def spent(self) -> float:
        """Cost of all trainings so far, in full trainings."""
        return math.fsum(self.problem.fidelities[trial.fidelity] for trial in self.trials)

    def cheap_rungs(self) -> _Rung:
        """Train below the full fidelity, the cheapest first."""
        fidelities = self.problem.fidelities[: self.full]
        for fidelity, cost in enumerate(fidelities):
            share = _CHEAP_SHARE * self.budget / len(fidelities)
            count = min(int(share / cost + _EPS), len(self.pool))
            if not count or self.budget - self.spent - count * cost < 1 - _EPS:
                continue
            if not any(self.scores):
                yield from self._first(math.ceil(_DRAWN_SHARE * count), count, fidelity)
                yield from self._batches(count - len(self.trials), _BATCHES, fidelity)
            else:
                yield from self._train(self._best_predicted(count, fidelity), fidelity)

    def full_rung(self) -> _Rung:
        """Train at the full fidelity, batch after batch, what is best by all that is known."""
        batches = _PROMOTIONS
        if not any(self.scores):
            batches = _BATCHES
            drawn = max(1, int(_DRAWN_FULL_SHARE * self.budget + _EPS))
            yield from self._first(drawn, int(self.budget + _EPS), self.full)
        if self.baselines:
            yield from self._train(
                self.baselines[: int(self.budget - self.spent + _EPS)], self.full
            )
        reserve = int(_REPEATED_SHARE * self.budget + _EPS)
        left = int(self.budget - self.spent - reserve + _EPS)
        yield from self._batches(left, batches, self.full)

    def _batches(self, left: int, batches: int, fidelity: int) -> _Rung:
        """Train a number of candidates in a number of batches."""
        size = max(1, math.ceil(left / batches))
        while left > 0 and (batch := self._best_predicted(min(size, left), fidelity)):
            yield from self._train(batch, fidelity)
            left -= len(batch)

    def random_rung(self) -> _Rung:
        """Train at the full fidelity what is named, and what is drawn until the budget is spent."""
        named = [*self.given, *self.baselines]
        left = int(self.budget + _EPS)
        pool = [c for c in self.pool if c not in self.given]
        order = self.rng.permutation(len(pool))[: max(0, left - len(named))]
        self.control = tuple(pool[i] for i in order)
        yield from self._train([*named, *self.control][:left], self.full)

    def repeats(self) -> _Rung:
        """Train the best ones with other seeds, as long as the budget lasts and it says more."""
        while self.budget - self.spent >= 1 - _EPS:
            ranked = self._ranked()
            if len(ranked) < 2 or self._noise_variance() == 0:  # scores do not depend on seeds
                break
            # Of the three that are most likely to be the best the one that is known least.
            first = min(ranked[:3], key=lambda c: len(self.scores[self.full][c]))
            seed = len(self.scores[self.full][first])
            yield from self._train([first], self.full, seed)
        while self.budget - self.spent >= 1 - _EPS:  # nothing to be repeated: look at others
            batch = self._best_predicted(1, self.full)
            if not batch:
                break
            yield from self._train(batch, self.full)

    def result(self) -> Selection[C]:
        """Choose the winner: the best, or the next one if that is as good and cheaper."""
        ranked = [c for c in self._ranked() if self._affordable(c)]
        if not ranked:
            raise SelectionError(
                'every training at the full fidelity failed; the first: '
                + next(iter(self.failures.values()), 'none was affordable')
            )
        repeated = [c for c in ranked if len(self.scores[self.full][c]) > 1]
        # Where scores depend on seeds, one score is not enough to win by.
        noise = self._noise_variance()
        best = repeated[0] if repeated and noise else ranked[0]
        near = [c for c in ranked if c != best and not self._leads(best, c)]
        # Of the first two, not of all: with few repeats the noise may look larger than it is.
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
        for candidate in self.given:
            self._offer(candidate)
            if candidate not in self.pool:
                raise SelectionError(
                    f'{candidate}, a given candidate, costs {self.problem.cost(candidate):.4g}, '
                    f'more than the limit of {self.limit:.4g}'
                )
        seen: set[C] = set()
        in_vain = 0
        # A small space is through when as many draws as it has candidates bring nothing new.
        while len(seen) < _POOL and in_vain < 50 + len(seen):
            candidate = self.problem.random(self.rng)
            in_vain = in_vain + 1 if candidate in seen else 0
            seen.add(candidate)
            self._offer(candidate)
        if not self.pool:
            raise SelectionError(
                f'none of {len(seen)} candidates costs at most {self.limit:g}: raise the limit'
            )

    def _offer(self, candidate: C) -> None:
        """Put a candidate into the pool if it is within the limit."""
        if candidate in self.pool:
            return
        if self._affordable(candidate):
            self.pool[candidate] = None
            code = np.asarray(self.problem.encode(candidate), float)
            cost = max(self.problem.cost(candidate), 1e-12)
            self.codes[candidate] = np.append(code, np.log(cost))

    def _affordable(self, candidate: C) -> bool:
        return self.limit is None or self.problem.cost(candidate) <= self.limit

    def _first(self, drawn: int, most: int, fidelity: int) -> _Rung:
        """Train candidates of which nothing is known: those given, and some that are drawn."""
        pool = [c for c in self.pool if c not in self.given]
        order = self.rng.permutation(len(pool))[:drawn]
        named = self.given[:most]
        self.control = tuple(pool[i] for i in order[: most - len(named)])
        yield from self._train([*named, *self.control], fidelity)
        if not self.scores[fidelity]:
            raise SelectionError(
                f'all {len(self.failures)} trainings of the first rung failed; the first: '
                + next(iter(self.failures.values()), 'there was none')
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
        """Return candidates to train at a fidelity, of the highest predicted score first.

        Those that were trained below it are promoted; if there are none, any others are chosen.

        Args:
            count: Number of candidates.
            fidelity: Fidelity that they are trained at, and were not yet.
        """
        done = self.scores[fidelity]
        below = self.scores[fidelity - 1] if fidelity > 0 else {}
        promoted = [c for c in below if c in self.pool and c not in done]
        if promoted:
            mean, _ = self._predicted(promoted, fidelity)
            return [promoted[i] for i in np.argsort(-mean, kind='stable')[:count]]
        for candidate in [c for c in self._ranked(fidelity) if c in self.codes][:3]:
            for other in self.problem.neighbours(candidate, self.rng):
                self._offer(other)
        candidates = [c for c in self.pool if c not in done and c not in self.failures]
        if not candidates:
            return []
        mean, deviation = self._predicted(candidates, fidelity)
        order = np.argsort(-(mean + _CURIOSITY * deviation), kind='stable')
        return [candidates[i] for i in order[:count]]

    def _predicted(self, candidates: Sequence[C], fidelity: int) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and deviation of the predicted scores at a fidelity, (candidates,) each.

        With too few scores at it, they are what is known of the fidelity below it, and equal below
        all.
        """
        surrogate = self._surrogate(fidelity)
        if surrogate is not None:
            return surrogate.predict(self._features(candidates, fidelity))
        known = self._known(candidates, fidelity - 1) if fidelity > 0 else np.zeros(len(candidates))
        return known, np.zeros(len(candidates))

    def _known(self, candidates: Sequence[C], fidelity: int) -> np.ndarray:
        """Return what is known of candidates at a fidelity, (candidates,).

        It is the prediction, and for those that were trained mostly their score: the rest of that
        is noise.
        """
        known, _ = self._predicted(candidates, fidelity)
        for i, candidate in enumerate(candidates):
            if candidate in self.scores[fidelity]:
                score = float(np.mean(self.scores[fidelity][candidate]))
                known[i] += _OWN_WEIGHT * (score - known[i])
        return known

    def _surrogate(self, fidelity: int) -> Surrogate | None:
        """Return the surrogate of the scores at a fidelity; None where they are too few."""
        trained, model = self._surrogates.get(fidelity, (-1, None))
        if trained != len(self.trials):  # else nothing was trained since
            scores = {c: own for c, own in self.scores[fidelity].items() if c in self.codes}
            failed = [c for c in self.failures if c in self.codes]
            model = None
            if len(scores) >= (_FEW_PROMOTED if any(self.scores[:fidelity]) else _FEW):
                means = [float(np.mean(own)) for own in scores.values()]
                # Where trainings failed, others like them are as good as the worst.
                means += [min(means)] * len(failed)
                rows = self._features([*scores, *failed], fidelity)
                among = self._features(list(dict.fromkeys((*self.pool, *scores))), fidelity)
                model = Surrogate(rows, np.array(means), self.seed, among)
            self._surrogates[fidelity] = len(self.trials), model
        return model

    def _features(self, candidates: Sequence[C], fidelity: int) -> np.ndarray:
        """Return code, cost and, above the cheapest fidelity, what is known below it."""
        codes = np.stack([self.codes[c] for c in candidates])
        if fidelity == 0 or self._surrogate(fidelity - 1) is None:
            return codes
        return np.c_[codes, self._known(candidates, fidelity - 1)]

    def _ranked(self, fidelity: int | None = None) -> list[C]:
        """Return candidates by what is known of them at a fidelity, the best first.

        A mean over few noisy scores is drawn to the mean of all candidates, as far as it is likely
        to be chance: the best of many single scores is mostly a lucky one.
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
        """Return the variance of scores over seeds, pooled; None where nothing was repeated."""
        scores = self.scores[self.full].values()
        if not self._repeats():
            return None
        return float(sum(((np.array(s) - np.mean(s)) ** 2).sum() for s in scores) / self._repeats())

    def _repeats(self) -> int:
        """Return how often a training was repeated with another seed."""
        return sum(len(own) - 1 for own in self.scores[self.full].values())

    def _leads(self, first: C, second: C) -> bool:
        """Return whether a candidate leads another by a standard error of their difference.

        The noise that the error is of is that of few repeats, which may be small by chance: it is
        as many times larger as Student's distribution is wider than the normal one.
        """
        one, two = self.scores[self.full][first], self.scores[self.full][second]
        error = 0.0
        if noise := self._noise_variance():
            error = math.sqrt(noise * (1 / len(one) + 1 / len(two)))
            error *= stats.t.ppf(stats.norm.cdf(1), self._repeats())
        return float(np.mean(one) - np.mean(two)) > error
