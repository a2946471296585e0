"""Estimated scores of candidates, from their own trainings and from a surrogate of each family."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Generic

import numpy as np
from scipy.special import ndtr, stdtrit

from .problem import C
from .surrogate import Surrogate

_OWN_WEIGHT = 2 / 3
"""Weight of a candidate's own score in its estimate; the rest is the surrogate's prediction. 1
promotes lucky scores, 0 ignores what the features do not explain."""

_MIN_SCORES = 5
"""Minimum number of scores to fit a surrogate. With fewer it changes the order of candidates by
chance (families of three networks in the tests' replay of GEO-Bench)."""

_MIN_PROMOTED_SCORES = 6
"""Minimum number of scores to fit a surrogate of promoted candidates. They were selected for high
scores, so their scores vary less and each carries less information."""


_CLOSED = 2.0
"""Gap between two scores that counts as closed, in standard deviations of a score over seeds. On
GEO-Bench 1 loses 0.3 points to the best family, 2 nothing at a fifth less cost, 4 half of that."""


class Estimates(Generic[C]):
    """Scores of a selection, and what they predict.

    Args:
        fidelities: Number of fidelities.
        family: Function that returns the family of a candidate.
        seed: Seed of the surrogates.
        noise: Standard deviation of a score over seeds, assumed until repeats measure it.
        paired: Whether all candidates of a repeat share what changes with the seed, such as the
            tiles that are scored on. Its common effect (:func:`seed_effects`) is then removed.

    Attributes:
        scores: Scores of each candidate by seed, for each fidelity.
        failures: Error messages by failed candidate.
        pool: Candidates that may be proposed.
        full: Index of the fidelity whose scores decide.
    """

    def __init__(
        self,
        fidelities: int,
        family: Callable[[C], Hashable],
        seed: int,
        noise: float,
        paired: bool = False,
    ) -> None:
        self.scores: list[dict[C, dict[int, float]]] = [{} for _ in range(fidelities)]
        self.failures: dict[C, str] = {}
        self.pool: dict[C, None] = {}
        self.full = fidelities - 1
        self.family = family
        self._seed, self._assumed_noise, self._paired = seed, noise, paired
        self._codes: dict[C, np.ndarray] = {}
        self._surrogates: dict[tuple[Hashable, int], tuple[int, Surrogate | None]] = {}
        self._known: dict[int, tuple[int, dict[C, np.ndarray]]] = {}
        self._trials = 0

    def add_candidate(self, candidate: C, code: np.ndarray) -> None:
        """Add a candidate to the pool.

        Args:
            candidate: The candidate.
            code: Its features, (features,), float.
        """
        self.pool[candidate] = None
        self._codes[candidate] = code

    def add_score(self, candidate: C, fidelity: int, seed: int, score: float) -> None:
        """Add the score of a training."""
        self.scores[fidelity].setdefault(candidate, {})[seed] = score
        self._trials += 1

    def add_failure(self, candidate: C, error: str) -> None:
        """Discard a candidate whose training failed."""
        self.failures[candidate] = error
        self.pool.pop(candidate, None)
        self._trials += 1

    def mean(self, candidate: C, fidelity: int) -> float:
        """Return the mean score of a trained candidate at a fidelity."""
        return float(np.mean(self._values(fidelity)[candidate]))

    def _values(self, fidelity: int) -> dict[C, np.ndarray]:
        """Return the scores of each candidate at a fidelity without the effects of seeds."""
        trials, values = self._known.get(fidelity, (-1, {}))
        if trials != self._trials:
            scores = self.scores[fidelity]
            effects = seed_effects(scores.values()) if self._paired else {}
            values = {
                c: np.array([score - effects.get(seed, 0.0) for seed, score in own.items()])
                for c, own in scores.items()
            }
            self._known[fidelity] = self._trials, values
        return values

    def predict(self, candidates: Sequence[C], fidelity: int) -> tuple[np.ndarray, np.ndarray]:
        """Predict scores at a fidelity without the candidates' own scores at it.

        Returns:
            Mean and standard deviation, (candidates,) each.
        """
        mean, deviation = np.zeros(len(candidates)), np.zeros(len(candidates))
        places: dict[Hashable, list[int]] = {}
        for i, candidate in enumerate(candidates):
            places.setdefault(self.family(candidate), []).append(i)
        for family, indices in places.items():
            own = [candidates[i] for i in indices]
            mean[indices], deviation[indices] = self._predict(family, own, fidelity)
        return mean, deviation

    def _predict(
        self, family: Hashable, candidates: Sequence[C], fidelity: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Predict scores of candidates of one family.

        A family with too few scores for a surrogate is predicted by the estimate at the fidelity
        below, plus the mean gain between both fidelities. At the lowest fidelity it is predicted
        by its mean score, or that of all families, with the standard deviation of all scores.
        """
        surrogate = self._surrogate(family, fidelity)
        if surrogate is not None:
            return surrogate.predict(self._features(family, candidates, fidelity))
        if fidelity > 0:
            below = self.estimate(candidates, fidelity - 1)
            return below + self._gain(fidelity), np.zeros(len(candidates))
        scores = self._values(0)
        everything = [s for own in scores.values() for s in own]
        members = [s for c, own in scores.items() for s in own if self.family(c) == family]
        mean = float(np.mean(members or everything or [0.0]))
        deviation = float(np.std(everything)) if everything else 0.0
        return np.full(len(candidates), mean), np.full(len(candidates), deviation)

    def _gain(self, fidelity: int) -> float:
        """Return the mean difference of scores at a fidelity and the one below it."""
        both = [c for c in self.scores[fidelity] if c in self.scores[fidelity - 1]]
        gains = [self.mean(c, fidelity) - self.mean(c, fidelity - 1) for c in both]
        return float(np.mean(gains)) if gains else 0.0

    def estimate(self, candidates: Sequence[C], fidelity: int) -> np.ndarray:
        """Return estimated scores at a fidelity, (candidates,).

        The estimate is the prediction. For trained candidates it is shifted towards their own mean
        score by ``_OWN_WEIGHT``.
        """
        estimates, _ = self.predict(candidates, fidelity)
        for i, candidate in enumerate(candidates):
            if candidate in self.scores[fidelity]:
                score = self.mean(candidate, fidelity)
                estimates[i] += _OWN_WEIGHT * (score - estimates[i])
        return estimates

    def _surrogate(self, family: Hashable, fidelity: int) -> Surrogate | None:
        """Return the surrogate of a family, refitted after new trials; None with few scores."""
        trials, model = self._surrogates.get((family, fidelity), (-1, None))
        if trials != self._trials:
            scores = self._members(self.scores[fidelity], family)
            failed = self._members(self.failures, family)
            model = None
            if len(scores) >= (
                _MIN_PROMOTED_SCORES if any(self.scores[:fidelity]) else _MIN_SCORES
            ):
                means = [self.mean(c, fidelity) for c in scores]
                # The worst score of a failed candidate keeps proposals away from similar ones.
                means += [min(means)] * len(failed)
                rows = self._features(family, [*scores, *failed], fidelity)
                pool = self._members(self.pool, family)
                among = self._features(family, list(dict.fromkeys((*pool, *scores))), fidelity)
                model = Surrogate(rows, np.array(means), self._seed, among)
            self._surrogates[family, fidelity] = self._trials, model
        return model

    def _members(self, candidates: Iterable[C], family: Hashable) -> list[C]:
        """Return the encoded candidates of a family."""
        return [c for c in candidates if c in self._codes and self.family(c) == family]

    def _features(self, family: Hashable, candidates: Sequence[C], fidelity: int) -> np.ndarray:
        """Return encodings, with the estimate at the fidelity below if there is one."""
        codes = np.stack([self._codes[c] for c in candidates])
        if fidelity == 0 or self._surrogate(family, fidelity - 1) is None:
            return codes
        return np.c_[codes, self.estimate(candidates, fidelity - 1)]

    def rank(self, fidelity: int | None = None) -> list[C]:
        """Return the trained candidates of a fidelity (the full one by default), the best first.

        At the full fidelity, mean scores are shrunk towards the mean of all candidates by their
        signal-to-noise ratio (empirical Bayes, as the James-Stein estimator): the maximum of many
        single scores is biased upwards.
        """
        scores = self._values(self.full if fidelity is None else fidelity)
        alive = [c for c in scores if c not in self.failures]
        means = {c: float(np.mean(scores[c])) for c in alive}
        noise = self.noise_variance if fidelity is None else 0.0
        if noise and len(alive) > 2:
            center = float(np.mean(list(means.values())))
            share = float(np.mean([noise / len(scores[c]) for c in alive]))
            between = max(float(np.var(list(means.values()), ddof=1)) - share, 0.1 * noise)
            for c in alive:
                weight = between / (between + noise / len(scores[c]))
                means[c] = center + weight * (means[c] - center)
        return sorted(alive, key=lambda c: -means[c])

    def contenders(self, fidelity: int, costs: Sequence[float]) -> list[C]:
        """Return the candidates at a fidelity that may reach its leader at the highest one.

        Learning curves are about linear in the logarithm of the length. A candidate's gap to the
        leader is therefore assumed to close as much with each further multiple of the length as
        between the last two fidelities, and not to widen. It counts as closed within ``_CLOSED``.

        Args:
            fidelity: Index of the fidelity, at least 1.
            costs: Cost of a training at each fidelity.
        """
        trained = self.rank(fidelity)
        if not trained:
            return []
        steps = math.log(costs[-1] / costs[fidelity]) / math.log(
            costs[fidelity] / costs[fidelity - 1]
        )

        def gap(candidate: C, at: int) -> float:
            return self.mean(trained[0], at) - self.mean(candidate, at)

        contenders = []
        for candidate in trained:
            closed = gap(candidate, fidelity - 1) - gap(candidate, fidelity)
            if gap(candidate, fidelity) - steps * max(closed, 0.0) <= _CLOSED * self._assumed_noise:
                contenders.append(candidate)
        return contenders

    @property
    def noise_variance(self) -> float | None:
        """Pooled variance of full scores over seeds; None if no training was repeated."""
        if not self._repeats:
            return None
        scores = self._values(self.full).values()
        return float(sum(((s - np.mean(s)) ** 2).sum() for s in scores) / self._repeats)

    @property
    def _repeats(self) -> int:
        """Degrees of freedom of the pooled variance: repeats, less the effects of seeds."""
        scores = self.scores[self.full].values()
        effects = len(seed_effects(scores)) if self._paired else 0
        return sum(len(own) - 1 for own in scores) - effects

    def leads(self, first: C, second: C) -> bool:
        """Return whether a candidate leads another by one standard error of their difference.

        The standard error is multiplied by the quantile of Student's t distribution at the level of
        one normal standard deviation, because few repeats may underestimate the noise.
        """
        scores = self._values(self.full)
        one, two = scores[first], scores[second]
        noise = self.noise_variance
        error = math.sqrt(
            (self._assumed_noise**2 if noise is None else noise) * (1 / len(one) + 1 / len(two))
        )
        if noise:
            error *= stdtrit(self._repeats, ndtr(1))
        return float(np.mean(one) - np.mean(two)) > error


def seed_effects(scores: Iterable[Mapping[int, float]]) -> dict[int, float]:
    """Return how much higher the scores of a seed are than those of seed 0, on average.

    Only candidates with both scores are compared, so that it does not depend on how good the
    repeated ones are.

    Args:
        scores: Scores of each candidate by seed.

    Example:
        >>> seed_effects([{0: 80.0, 1: 72.0}, {0: 79.0, 1: 71.0}, {0: 75.0}])
        {1: -8.0}
    """
    differences: dict[int, list[float]] = {}
    for own in scores:
        for seed in own.keys() - {0} if 0 in own else ():
            differences.setdefault(seed, []).append(own[seed] - own[0])
    return {seed: float(np.mean(values)) for seed, values in sorted(differences.items())}
