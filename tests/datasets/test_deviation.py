"""Images that deviate from the training data."""

import numpy as np
import pytest

from dnas_mmseg.datasets.deviation import describe_fill, describe_shift, find_fill

MEAN, STD = np.array([100.0, 200.0]), np.array([20.0, 40.0])


def test_a_fill_value_is_the_extreme_of_all_bands(rng):
    samples = rng.normal(MEAN[:, None, None], 5, (2, 20, 20)).astype(np.float32)
    assert find_fill(samples, None) is None
    samples[:, :2] = -9999
    assert find_fill(samples, None) == (-9999, 0.1)
    text = describe_fill('a.tif', (-9999, 0.1), MEAN, STD, 'set --nodata -9999')
    assert text == (
        'a.tif: all bands are -9999 in 10 % of the pixels, far from the training tiles: if it is '
        'an undeclared nodata value, set --nodata -9999'
    )
    invalid = np.zeros((20, 20), bool)
    invalid[:2] = True
    assert find_fill(samples, invalid) is None
    assert find_fill(samples, np.ones((20, 20), bool)) is None


@pytest.mark.parametrize('value', [60.0, 300.0, 140.0])
def test_saturated_pixels_are_no_fill(value):
    assert describe_fill('a.tif', (value, 0.1), MEAN, STD, '') == ''


def test_a_value_in_one_band_is_no_fill(rng):
    samples = rng.normal(100, 5, (2, 20, 20))
    samples[0, :10] = -9999
    assert find_fill(samples, None) is None


def test_shifts_of_means():
    assert describe_shift('a.tif', np.array([149.0, 101.0]), MEAN, STD) == ''
    assert describe_shift('a.tif', np.array([100.0, 301.0]), MEAN, STD, ('red', 'nir')) == (
        'a.tif: the mean of band nir is 301, in the training tiles 200 +- 40: perhaps another '
        'sensor, unit or order of bands'
    )
