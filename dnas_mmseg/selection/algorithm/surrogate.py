"""Surrogate model that predicts scores from a few dozen trainings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sklearn.linear_model import BayesianRidge

_MIN_POINTS = 12
"""Number of points from which cross-validation compares the models. With fewer, the 5 folds have
two points each, and their errors are mostly noise; the linear model is used."""

_MAX_ERROR_RATIO = 0.7
"""Largest squared error of the quadratic model, relative to the linear one, at which it is used. It
has twice the coefficients, so it must win by a margin that noise in the folds seldom produces."""


class Surrogate:
    """Bayesian ridge regression of scores on standardised features.

    The model is linear (MacKay 1992, Bayesian interpolation; scikit-learn's ``BayesianRidge``).
    From 12 points on, 5-fold cross-validation may choose one with squared features instead, which
    can represent an optimum in the interior of a feature's range.

    Args:
        features: (points, features), float.
        scores: (points,), float.
        seed: Seed of the folds.
        among: (candidates, features), all candidates that may be predicted. They standardise the
            features, because the points may hardly vary in one.

    Attributes:
        name: ``'linear'`` or ``'quadratic'``.
    """

    def __init__(
        self, features: np.ndarray, scores: np.ndarray, seed: int, among: np.ndarray
    ) -> None:
        self._mean, self._scale = among.mean(0), among.std(0)
        self._used = self._scale > 1e-12
        x, y = self._standardise(features), np.asarray(scores, float)
        self._center, spread = y.mean(), y.std()
        self._spread = spread if spread > 0 else 1.0
        y = (y - self._center) / self._spread
        self.name, fit = _choose_model(x, y, seed)
        self._predict = fit(x, y)

    def predict(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the predictive mean and standard deviation of scores, (candidates,) each.

        Args:
            features: (candidates, features), float.
        """
        mean, deviation = self._predict(self._standardise(features))
        return self._center + self._spread * mean, self._spread * deviation

    def _standardise(self, features: np.ndarray) -> np.ndarray:
        if not self._used.any():
            return np.zeros((len(features), 1))
        return (features[:, self._used] - self._mean[self._used]) / self._scale[self._used]


Prediction = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
Model = Callable[[np.ndarray, np.ndarray], Prediction]


def _fit_linear(x: np.ndarray, y: np.ndarray) -> Prediction:
    model = _fit_ridge(x, y)
    return lambda points: model.predict(points, return_std=True)


def _fit_quadratic(x: np.ndarray, y: np.ndarray) -> Prediction:
    model = _fit_ridge(_with_squares(x), y)
    return lambda points: model.predict(_with_squares(points), return_std=True)


def _fit_ridge(x: np.ndarray, y: np.ndarray) -> BayesianRidge:
    from sklearn.linear_model import BayesianRidge  # workers do without

    return BayesianRidge().fit(x, y)


def _with_squares(x: np.ndarray) -> np.ndarray:
    return np.c_[x, x**2 - 1]


_MODELS: dict[str, Model] = {'linear': _fit_linear, 'quadratic': _fit_quadratic}


def _choose_model(x: np.ndarray, y: np.ndarray, seed: int) -> tuple[str, Model]:
    """Return name and fit function of the model with the smallest cross-validation error."""
    names: Sequence[str] = list(_MODELS) if len(y) >= _MIN_POINTS else ['linear']
    if len(names) > 1:
        from sklearn.model_selection import KFold

        errors = dict.fromkeys(names, 0.0)
        for train, held in KFold(5, shuffle=True, random_state=seed).split(x):
            for name in names:
                mean, _ = _MODELS[name](x[train], y[train])(x[held])
                errors[name] += float(((mean - y[held]) ** 2).sum())
        errors['linear'] *= _MAX_ERROR_RATIO
        names = sorted(names, key=lambda name: errors[name])
    return names[0], _MODELS[names[0]]
