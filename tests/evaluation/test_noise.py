import numpy as np
import pytest
from scipy import stats

from dnas_mmseg.errors import UserError
from dnas_mmseg.evaluation import measure_noise


def test_variance_estimates_are_unbiased():
    rng = np.random.default_rng(0)
    within, between = [], []
    for _ in range(400):
        means = 70 + 2.4 * rng.standard_normal(5)
        scores = {str(i): m + 1.3 * rng.standard_normal(4) for i, m in enumerate(means)}
        noise = measure_noise(scores)
        within.append(noise.seed_std**2)
        between.append(noise.network_std**2)
    assert np.mean(within) == pytest.approx(1.3**2, rel=0.05)
    assert np.mean(between) == pytest.approx(2.4**2, rel=0.08)


def test_networks_with_different_numbers_of_seeds():
    rng = np.random.default_rng(1)
    within, between = [], []
    for _ in range(400):
        scores = {
            str(i): 2.0 * rng.standard_normal() + rng.standard_normal(n)
            for i, n in enumerate((2, 2, 3, 5, 8, 1))
        }
        noise = measure_noise(scores)
        within.append(noise.seed_std**2)
        between.append(noise.network_std**2)
    assert np.mean(within) == pytest.approx(1, rel=0.06)
    assert np.mean(between) == pytest.approx(4, rel=0.12)


def test_an_example_by_hand():
    noise = measure_noise({'a': [70, 72], 'b': [75, 77]})
    assert noise.seed_std == pytest.approx(2**0.5)
    # Mean square between 25, within 2: (25 - 2) / 2.
    assert noise.network_std == pytest.approx(11.5**0.5)
    assert noise.intraclass_correlation == pytest.approx(11.5 / 13.5)
    assert (noise.seeds, noise.degrees_of_freedom) == (2, 2)
    # t-test of two means of two seeds each, with the pooled standard deviation.
    assert noise.least_significant_difference() == pytest.approx(
        stats.t.ppf(0.975, 2) * (2 * 2 / 2) ** 0.5
    )
    assert noise.least_significant_difference(1) == pytest.approx(stats.t.ppf(0.975, 2) * 2)
    assert 'intraclass correlation 0.85; least significant difference (95 %) 8.6' in str(noise)


def test_equal_networks_have_no_variance():
    noise = measure_noise({'a': [70, 74], 'b': [74, 70]})
    assert noise.network_std == 0
    assert noise.intraclass_correlation == 0


@pytest.mark.parametrize('scores', [{}, {'a': [1, 2]}, {'a': [1], 'b': [2]}])
def test_too_few_seeds_raise_an_error(scores):
    with pytest.raises(UserError, match='requires two networks, one of them with two seeds'):
        measure_noise(scores)
    with pytest.raises(UserError, match='finite scores'):
        measure_noise({'a': [1, float('nan')], 'b': [2]})
