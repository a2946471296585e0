"""Deviations of scores over trainings and networks, and what a comparison can decide."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from dnas_mmseg.errors import UserError


@dataclass(frozen=True)
class Noise:
    """Variance components of scores of several networks, each trained with several seeds.

    Attributes:
        seed_std: Standard deviation of one network's score over seeds, pooled over networks;
            in the scores' unit.
        network_std: Standard deviation between networks' true means; 0 where the scores show
            none beyond chance.
        seeds: Number of trainings per network (the harmonic mean, where they differ).
        degrees_of_freedom: Degrees of freedom of the seed deviation.
    """

    seed_std: float
    network_std: float
    seeds: float
    degrees_of_freedom: int

    @property
    def intraclass_correlation(self) -> float:
        """Share of the networks in the variance of single scores, 0 to 1 (ICC(1), Shrout 1979)."""
        total = self.seed_std**2 + self.network_std**2
        return self.network_std**2 / total if total else 1.0

    def least_significant_difference(
        self, trainings: float | None = None, confidence: float = 0.95
    ) -> float:
        """Return the least difference between two networks' means that is significant.

        Args:
            trainings: Number of trainings behind each of the two means; as many as here by default.
            confidence: Confidence of the two-sided t test.
        """
        trainings = trainings or self.seeds
        return least_significant_difference(
            self.seed_std, self.degrees_of_freedom, trainings, confidence
        )

    def __str__(self) -> str:
        one, many = self.least_significant_difference(1), self.least_significant_difference()
        return (
            f'seed deviation {self.seed_std:.2f}, deviation between networks '
            f'{self.network_std:.2f}, intraclass correlation '
            f'{self.intraclass_correlation:.2f}; two networks differ (95 %) from {one:.1f} on with '
            f'one training each, from {many:.1f} on with {self.seeds:.3g}'
        )


def least_significant_difference(
    deviation: float, degrees_of_freedom: int, trainings: float, confidence: float = 0.95
) -> float:
    """Return the least difference between the means of two networks' scores that is significant.

    Args:
        deviation: Standard deviation of a network's score over seeds.
        degrees_of_freedom: Degrees of freedom behind ``deviation``.
        trainings: Number of trainings behind each of the two means.
        confidence: Confidence of the two-sided t test.
    """
    t = stats.t.ppf(0.5 + confidence / 2, degrees_of_freedom)
    return float(t * deviation * math.sqrt(2 / trainings))


def measure_noise(scores: Mapping[str, Sequence[float]]) -> Noise:
    """Estimate the variance components by a one-way analysis of variance with random effects.

    Args:
        scores: Scores of each network, one per seed; at least two networks, one of them with at
            least two seeds.

    Raises:
        UserError: There are too few, or a score is not finite.
    """
    groups = [np.asarray(values, float) for values in scores.values()]
    if len(groups) < 2 or min(map(len, groups)) < 1 or max(map(len, groups)) < 2:
        raise UserError(
            'noise is measured on at least two networks, one of them with at least two seeds; '
            f'there are {", ".join(f"{name} ({len(v)})" for name, v in scores.items()) or "none"}'
        )
    if not all(np.isfinite(group).all() for group in groups):
        raise UserError('a score is not finite')
    sizes = np.array([len(group) for group in groups])
    total, degrees_of_freedom = sizes.sum(), int(sizes.sum() - len(groups))
    within = sum(((group - group.mean()) ** 2).sum() for group in groups) / degrees_of_freedom
    mean = sum(group.sum() for group in groups) / total
    between = sum(len(group) * (group.mean() - mean) ** 2 for group in groups) / (len(groups) - 1)
    # Groups of different sizes count as of this many trainings (Searle, Variance Components, 1971).
    effective = (total - (sizes**2).sum() / total) / (len(groups) - 1)
    variance = max(0.0, (between - within) / effective)
    seeds = len(groups) / (1 / sizes).sum()
    return Noise(math.sqrt(within), math.sqrt(variance), float(seeds), degrees_of_freedom)
