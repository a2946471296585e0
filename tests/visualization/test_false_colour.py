import numpy as np

from dnas_mmseg.datasets.gid5 import PALETTE
from dnas_mmseg.visualization import (
    apply_palette,
    display_bands,
    false_colour,
)
from dnas_mmseg.visualization.false_colour import format_display_bands


def test_bands_are_selected_by_name():
    assert display_bands(('nir', 'red', 'green', 'blue'), 4) == (0, 1, 2)
    assert display_bands(('blue', 'green', 'red', 'nir'), 4) == (3, 2, 1)
    assert display_bands(('blue', 'green', 'red'), 3) == (2, 1, 0)
    assert display_bands((), 5) == (0, 1, 2)
    assert display_bands(('pan',), 1) == (0, 0, 0)


def test_uint16_is_stretched_between_percentiles(rng):
    image = rng.integers(300, 3000, (50, 50, 4)).astype(np.uint16)
    image[0, 0] = 65535
    picture = false_colour(image, ('nir', 'red', 'green', 'blue'))
    assert picture.dtype == np.uint8
    assert picture.shape == (50, 50, 3)
    assert 100 < picture.mean() < 155
    inner = (picture[..., 0] > 0) & (picture[..., 0] < 255)
    assert inner.mean() > 0.9
    order = np.argsort(image[inner][:, 0], kind='stable')
    assert (np.diff(picture[inner][:, 0][order].astype(int)) >= 0).all()


def test_non_finite_samples_are_black():
    image = np.random.rand(10, 10, 3).astype(np.float32)
    image[2, 3] = np.nan
    assert (false_colour(image)[2, 3] == 0).all()


def test_palette_is_applied():
    picture = apply_palette(np.array([[0, 4, 255]], np.uint8), PALETTE)
    assert picture.tolist() == [[[255, 0, 0], [0, 0, 255], [0, 0, 0]]]


def test_headings_list_the_displayed_bands():
    assert format_display_bands(('blue', 'green', 'red', 'nir')) == ': nir, red, green'
    assert format_display_bands(('red', 'green', 'blue')) == ': red, green, blue'
    assert format_display_bands(('pan',)) == ': pan'
    assert format_display_bands(()) == ''
