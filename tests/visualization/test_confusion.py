import warnings

import numpy as np
import pytest
from PIL import Image

from dnas_mmseg.visualization import save_confusion


@pytest.fixture
def picture(tmp_path):
    def draw(matrix):
        save_confusion(tmp_path / 'c.png', np.array(matrix), ['a', 'b'], 'title')
        return np.array(Image.open(tmp_path / 'c.png').convert('RGB'))

    return draw


def test_rows_are_normalised(picture):
    """Rare and frequent classes have the same scale."""
    few = picture([[90, 10], [0, 100]])
    np.testing.assert_array_equal(few, picture([[9000, 1000], [0, 10000]]))
    assert (few != picture([[10, 90], [0, 100]])).any()


def test_a_class_without_pixels_is_a_row_of_zeros(picture):
    """No division by zero; the row is whiter than that of a class with pixels."""
    with warnings.catch_warnings():
        warnings.simplefilter('error', RuntimeWarning)
        empty, full = picture([[1, 0], [0, 0]]), picture([[1, 0], [0, 1]])
    white = [(p == 255).all(2).mean() for p in (empty, full)]
    assert white[0] > white[1]


def test_class_names_are_not_mathtext(tmp_path):
    """matplotlib would interpret text between two $ as mathtext, or fail."""
    save_confusion(tmp_path / 'c.png', np.eye(2), ['$\\frac{$', 'b $5$'], '$\\x$')
    assert (tmp_path / 'c.png').stat().st_size > 1000
