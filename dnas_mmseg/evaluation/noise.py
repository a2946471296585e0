"""Variance components of scores over seeds and networks, and significance of differences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from dnas_mmseg.errors import UserError


@dataclass(frozen=True)
class Noise:
    """Variance components of scores of several networks, each trained with several seeds.

    Attributes:
        seed_std: Standard deviation of a network's score over seeds, pooled over networks, in the
            unit of the scores.
        network_std: Standard deviation of the networks' expected scores; 0 if the variance between
            networks does not exceed the variance over seeds.
        seeds: Number of seeds per network; the harmonic mean if it varies.
        degrees_of_freedom: Degrees of freedom of the seed deviation.
    """

    seed_std: float
    network_std: float
    seeds: float
    degrees_of_freedom: int

    @property
    def intraclass_correlation(self) -> float:
        """Share of the variance due to networks, 0 to 1: ICC(1,1) of Shrout & Fleiss, 1979."""
        total = self.seed_std**2 + self.network_std**2
        return self.network_std**2 / total if total else 1.0

    def least_significant_difference(
        self, seeds: float | None = None, confidence: float = 0.95
    ) -> float:
        """Return the least significant difference between the mean scores of two networks.

        Args:
            seeds: Number of seeds per mean; defaults to :attr:`seeds`.
            confidence: Confidence level of the two-sided t-test.
        """
        return least_significant_difference(
            self.seed_std, self.degrees_of_freedom, seeds or self.seeds, confidence
        )

    def __str__(self) -> str:
        one, many = self.least_significant_difference(1), self.least_significant_difference()
        return (
            f'standard deviation over seeds {self.seed_std:.2f}, between networks '
            f'{self.network_std:.2f}, intraclass correlation {self.intraclass_correlation:.2f}; '
            f'least significant difference (95 %) {one:.1f} with one seed per network, {many:.1f} '
            f'with {self.seeds:.3g}'
        )


def least_significant_difference(
    std: float, degrees_of_freedom: int, seeds: float, confidence: float = 0.95
) -> float:
    """Return Fisher's least significant difference (LSD) between two mean scores.

    It is ``t * std * sqrt(2 / seeds)``, where t is the two-sided quantile of Student's t
    distribution (Fisher, The Design of Experiments, 1935).

    Args:
        std: Standard deviation of a network's score over seeds.
        degrees_of_freedom: Degrees of freedom of ``std``.
        seeds: Number of seeds per mean.
        confidence: Confidence level of the two-sided t-test.

    Example:
        >>> round(least_significant_difference(1.0, degrees_of_freedom=4, seeds=3), 2)
        2.27
    """
    t = stdtrit(degrees_of_freedom, 0.5 + confidence / 2)
    return float(t * std * math.sqrt(2 / seeds))


def measure_noise(scores: Mapping[str, Sequence[float]]) -> Noise:
    """Estimate variance components by a one-way analysis of variance with random effects.

    The estimates equate the mean squares within and between networks with their expectations
    (Searle, Casella & McCulloch, Variance Components, 1992).

    Args:
        scores: Scores of each network, one per seed; at least two networks, one of them with at
            least two seeds.

    Raises:
        UserError: There are too few networks or seeds, or a score is not finite.

    Example:
        >>> noise = measure_noise({'a': [70.0, 72.0], 'b': [75.0, 77.0]})
        >>> round(noise.seed_std, 2), round(noise.network_std, 2)
        (1.41, 3.39)
    """
    groups = [np.asarray(values, float) for values in scores.values()]
    if len(groups) < 2 or min(map(len, groups)) < 1 or max(map(len, groups)) < 2:
        raise UserError(
            'measuring noise requires two networks, one of them with two seeds; networks (seeds): '
            f'{", ".join(f"{name} ({len(v)})" for name, v in scores.items()) or "none"}'
        )
    if not all(np.isfinite(group).all() for group in groups):
        raise UserError('measuring noise requires finite scores')
    sizes = np.array([len(group) for group in groups])
    total, degrees_of_freedom = sizes.sum(), int(sizes.sum() - len(groups))
    within = sum(((group - group.mean()) ** 2).sum() for group in groups) / degrees_of_freedom
    mean = sum(group.sum() for group in groups) / total
    between = sum(len(group) * (group.mean() - mean) ** 2 for group in groups) / (len(groups) - 1)
    # Effective group size of an unbalanced design.
    effective = (total - (sizes**2).sum() / total) / (len(groups) - 1)
    variance = max(0.0, (between - within) / effective)
    seeds = len(groups) / (1 / sizes).sum()
    return Noise(math.sqrt(within), math.sqrt(variance), float(seeds), degrees_of_freedom)
