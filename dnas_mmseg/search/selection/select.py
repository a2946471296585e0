"""Choosing the best candidate by trainings: cheap ones first, a surrogate, repeats at the end.

The first rung trains candidates at the cheapest fidelity; what a surrogate makes of their scores is
a feature of the next one. Batches at the full fidelity follow, of the candidates whose predicted
score, plus its deviation, is the highest. What is left of the budget repeats the best ones with
other seeds. Promotion is by batch, so that one worker and many give the same winner.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Generic

import numpy as np

from .problem import C, Candidates, Problem, Request, SelectionError, Trial
from .surrogate import Surrogate

STRATEGIES = ('halving', 'random')
"""The algorithm, and full trainings of candidates that are drawn, which it must beat."""

_POOL = 3000
"""Candidates that are drawn to choose from, at most."""

_CHEAP_SHARE = 0.25
"""Share of the budget that goes into trainings below the full fidelity."""

_CURIOSITY = 1.0
"""Deviations of the prediction that are added to its mean."""

_BATCHES = 4
"""Batches at the full fidelity, about."""

_REPEATED_SHARE = 1 / 8
"""Share of the budget that is kept for training the best candidates with other seeds."""

_FEW = 3
"""Scores below which nothing is predicted from them."""

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
        control: Candidates of the first rung that were drawn evenly, each with the score that is
            predicted for it at the full fidelity: what chance finds, beside what was chosen.
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
    rivals: Sequence[C] = (),
    strategy: str = 'halving',
) -> Steps[C]:
    """Run the algorithm of :func:`select` and leave the trainings to the caller.

    Args:
        problem: The candidates.
        budget: Cost of all trainings together, in full trainings.
        seed: Seed of everything that is drawn.
        cost_limit: Largest cost of the winner.
        given: Candidates that are in the first rung for certain.
        rivals: Others, of which only the cost is asked, that take part at the full fidelity.
        strategy: One of :data:`STRATEGIES`.

    Yields:
        Trainings that may be done in any order, at the same time; to be sent back are their scores
        in the order of the requests, or what went wrong.

    Returns:
        As :func:`select`.

    Raises:
        SelectionError: As :func:`select`, or a given candidate costs more than the limit.
    """
    run = _Run(problem, budget, seed, cost_limit, given, rivals)
    if strategy == 'random':
        yield from run.random_rung()
    else:
        yield from run.cheap_rungs()
        yield from run.full_rung()
        yield from run.repeats()
    return run.result()


class _Run(Generic[C]):
    """State of a selection."""

    def __init__(
        self,
        problem: Candidates[C],
        budget: float,
        seed: int,
        cost_limit: float | None,
        given: Sequence[C],
        rivals: Sequence[C],
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
        self.given, self.rivals = tuple(dict.fromkeys(given)), tuple(dict.fromkeys(rivals))
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
            if self.budget - self.spent - count * cost < 1 - _EPS:
                continue
            if fidelity == 0:
                yield from self._first(count, fidelity)
            else:
                yield from self._train(self._best_predicted(count, fidelity - 1), fidelity)

    def full_rung(self) -> _Rung:
        """Train at the full fidelity what is predicted to be best, batch after batch."""
        if not any(self.scores[: self.full]):
            yield from self._first(max(1, int(_CHEAP_SHARE * self.budget + _EPS)), self.full)
        if self.rivals:
            yield from self._train(self.rivals[: int(self.budget - self.spent + _EPS)], self.full)
        reserve = int(_REPEATED_SHARE * self.budget + _EPS)
        size = max(1, round((self.budget - self.spent - reserve) / _BATCHES))
        while (left := int(self.budget - self.spent - reserve + _EPS)) > 0:
            batch = self._best_predicted(min(size, left), self.full)
            if not batch:
                break
            yield from self._train(batch, self.full)

    def random_rung(self) -> _Rung:
        """Train at the full fidelity what is named, and what is drawn until the budget is spent."""
        named = [*self.given, *self.rivals]
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
        return Selection(
            best=winner,
            score=float(np.mean(self.scores[self.full][winner])),
            undecided=rest,
            noise=None if noise is None else math.sqrt(noise),
            spent=self.spent,
            trials=tuple(self.trials),
            control=self._control_scores(),
            failures=dict(self.failures),
        )

    def _control_scores(self) -> dict[C, float]:
        left = [c for c in self.control if c not in self.failures]
        if not left:
            return {}
        return dict(zip(left, self._predicted(left, self.full)[0].tolist(), strict=True))

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

    def _first(self, count: int, fidelity: int) -> _Rung:
        """Train candidates of which nothing is known, the given ones first."""
        pool = [c for c in self.pool if c not in self.given]
        left = max(0, count - len(self.given))
        drawn = [pool[i] for i in self.rng.permutation(len(pool))[:left]]
        self.control = tuple(drawn)
        yield from self._train([*self.given[:count], *drawn], fidelity)
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
        """Return candidates of the highest predicted score, the highest first.

        For the full fidelity they are those that were not trained at it; to promote to a rung below
        it, all of them, those trained at the rung before included.

        Args:
            count: Number of candidates.
            fidelity: Fidelity at whose scores the prediction aims.
        """
        for candidate in [c for c in self._ranked(fidelity) if c in self.codes][:3]:
            for other in self.problem.neighbours(candidate, self.rng):
                self._offer(other)
        done = self.scores[self.full] if fidelity == self.full else {}
        candidates = [c for c in self.pool if c not in done and c not in self.failures]
        if not candidates:
            return []
        mean, deviation = self._predicted(candidates, fidelity)
        order = np.argsort(-(mean + _CURIOSITY * deviation), kind='stable')
        return [candidates[i] for i in order[:count]]

    def _predicted(self, candidates: Sequence[C], fidelity: int) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and deviation of the predicted scores at a fidelity, (candidates,) each.

        With too few scores at it, they are those of the fidelity below it, and equal below all.
        """
        surrogate = self._surrogate(fidelity)
        if surrogate is not None:
            return surrogate.predict(self._features(candidates, fidelity))
        if fidelity > 0:
            return self._predicted(candidates, fidelity - 1)
        return np.zeros(len(candidates)), np.zeros(len(candidates))

    def _surrogate(self, fidelity: int) -> Surrogate | None:
        """Return the surrogate of the scores at a fidelity; None for fewer than three of them."""
        trained, model = self._surrogates.get(fidelity, (-1, None))
        if trained != len(self.trials):  # else nothing was trained since
            scores = {c: own for c, own in self.scores[fidelity].items() if c in self.codes}
            failed = [c for c in self.failures if c in self.codes]
            model = None
            if len(scores) >= _FEW:
                means = [float(np.mean(own)) for own in scores.values()]
                # Where trainings failed, others like them are as good as the worst.
                means += [min(means)] * len(failed)
                rows = self._features([*scores, *failed], fidelity)
                model = Surrogate(rows, np.array(means), self.seed)
            self._surrogates[fidelity] = len(self.trials), model
        return model

    def _features(self, candidates: Sequence[C], fidelity: int) -> np.ndarray:
        """Return code, cost and, above the cheapest fidelity, the predicted score below it."""
        codes = np.stack([self.codes[c] for c in candidates])
        if fidelity == 0 or self._surrogate(fidelity - 1) is None:
            return codes
        return np.c_[codes, self._predicted(candidates, fidelity - 1)[0]]

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
        repeated = [np.array(s) for s in self.scores[self.full].values() if len(s) > 1]
        freedom = sum(len(s) - 1 for s in repeated)
        if not freedom:
            return None
        return float(sum(((s - s.mean()) ** 2).sum() for s in repeated) / freedom)

    def _leads(self, first: C, second: C) -> bool:
        """Return whether a candidate leads another by a standard error of their difference."""
        one, two = self.scores[self.full][first], self.scores[self.full][second]
        noise = self._noise_variance() or 0.0
        error = math.sqrt(noise * (1 / len(one) + 1 / len(two)))
        return float(np.mean(one) - np.mean(two)) > error
