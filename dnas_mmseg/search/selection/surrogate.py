"""Predicting scores of candidates from those of a dozen others."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from sklearn.linear_model import BayesianRidge
from sklearn.model_selection import KFold

_ENOUGH_FOR_A_CHOICE = 12
"""Points below which cross-validation cannot tell models apart; a linear one is taken then."""


class Surrogate:
    """A model of scores with a mean and a deviation, chosen by cross-validation among a few.

    With a dozen points a linear model on an ordinal code is hard to beat. One with squares, for an
    optimum in the middle of a feature, is taken where it predicts held-out points clearly better.

    Args:
        features: (points, features), float.
        scores: (points,), float.
        seed: Seed of the folds.
        among: (candidates, features), those to choose among. How much they differ in a feature is
            its unit, as the points may be alike in it.
    """

    def __init__(
        self, features: np.ndarray, scores: np.ndarray, seed: int, among: np.ndarray
    ) -> None:
        self._mean, self._scale = among.mean(0), among.std(0)
        self._used = self._scale > 1e-12
        x, y = self._prepared(features), np.asarray(scores, float)
        self._center, spread = y.mean(), y.std()
        self._spread = spread if spread > 0 else 1.0
        y = (y - self._center) / self._spread
        self.name, build = _chosen(x, y, seed)
        self._predict = build(x, y)

    def predict(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and deviation of the scores of candidates, (candidates,) each.

        Args:
            features: (candidates, features), float.
        """
        mean, deviation = self._predict(self._prepared(features))
        return self._center + self._spread * mean, self._spread * deviation

    def _prepared(self, features: np.ndarray) -> np.ndarray:
        if not self._used.any():
            return np.zeros((len(features), 1))
        return (features[:, self._used] - self._mean[self._used]) / self._scale[self._used]


_CLEARLY_BETTER = 0.7
"""Share of the linear model's squared error below which another one is clearly better."""

Prediction = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
Model = Callable[[np.ndarray, np.ndarray], Prediction]


def _linear(x: np.ndarray, y: np.ndarray) -> Prediction:
    model = BayesianRidge().fit(x, y)
    return lambda points: model.predict(points, return_std=True)


def _quadratic(x: np.ndarray, y: np.ndarray) -> Prediction:
    model = BayesianRidge().fit(_with_squares(x), y)
    return lambda points: model.predict(_with_squares(points), return_std=True)


def _with_squares(x: np.ndarray) -> np.ndarray:
    return np.c_[x, x**2 - 1]


_MODELS: dict[str, Model] = {'linear': _linear, 'quadratic': _quadratic}


def _chosen(x: np.ndarray, y: np.ndarray, seed: int) -> tuple[str, Model]:
    """Return the model of the smallest squared error on held-out points; the linear one if near."""
    names: Sequence[str] = list(_MODELS) if len(y) >= _ENOUGH_FOR_A_CHOICE else ['linear']
    if len(names) > 1:
        errors = dict.fromkeys(names, 0.0)
        for train, held in KFold(5, shuffle=True, random_state=seed).split(x):
            for name in names:
                mean, _ = _MODELS[name](x[train], y[train])(x[held])
                errors[name] += float(((mean - y[held]) ** 2).sum())
        errors['linear'] *= _CLEARLY_BETTER
        names = sorted(names, key=lambda name: errors[name])
    return names[0], _MODELS[names[0]]
