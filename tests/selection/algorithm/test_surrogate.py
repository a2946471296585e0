import numpy as np

from dnas_mmseg.selection.algorithm.surrogate import Surrogate


def test_linear_scores_are_extrapolated(rng):
    x = rng.random((12, 4))
    weights = np.array([2.0, -1.0, 0.0, 0.5])
    model = Surrogate(x, 5 + x @ weights, seed=0, among=x)
    points = rng.random((50, 4))
    mean, deviation = model.predict(points)
    assert model.name == 'linear'
    np.testing.assert_allclose(mean, 5 + points @ weights, atol=0.01)
    assert (deviation > 0).all()
    assert deviation.max() < 0.1


def test_quadratic_model_for_an_interior_optimum(rng):
    x = rng.integers(0, 5, (30, 3)).astype(float)
    model = Surrogate(x, -((x - 2) ** 2).sum(1), seed=0, among=x)
    assert model.name == 'quadratic'
    mean, _ = model.predict(np.array([[2.0, 2, 2], [0, 0, 0], [4, 4, 4]]))
    assert mean[0] > mean[1] + 10
    assert mean[0] > mean[2] + 10


def test_deviation_grows_with_the_distance(rng):
    x = rng.random((10, 2))
    model = Surrogate(x, x[:, 0] + 0.1 * rng.standard_normal(10), seed=0, among=x)
    _, (near, far) = model.predict(np.array([[0.5, 0.5], [5.0, 5.0]]))
    assert far > 2 * near


def test_deviation_in_a_feature_that_is_constant_in_the_points(rng):
    others = rng.random((100, 2))
    points = np.c_[rng.random(8), np.full(8, 0.5)]
    model = Surrogate(points, points[:, 0], seed=0, among=others)
    mean, (same, other) = model.predict(np.array([[0.5, 0.5], [0.5, 1.0]]))
    assert mean[0] == mean[1]
    assert other > 2 * same


def test_constant_features_are_ignored():
    x = np.array([[1.0, 7], [2, 7], [3, 7]])
    model = Surrogate(x, np.array([1.0, 2, 3]), seed=0, among=x)
    mean, _ = model.predict(np.array([[2.0, 7], [2.0, 99]]))
    assert mean[0] == mean[1]
    same = np.ones((3, 2))
    flat = Surrogate(same, np.array([1.0, 2, 3]), seed=0, among=same)
    np.testing.assert_allclose(flat.predict(np.ones((1, 2)))[0], 2)


def test_equal_scores(rng):
    x = rng.random((6, 3))
    mean, _ = Surrogate(x, np.full(6, 4.0), seed=0, among=x).predict(rng.random((5, 3)))
    np.testing.assert_allclose(mean, 4)
