"""Values and bits of quality bands."""

import numpy as np
import pytest

from dnas_mmseg.raster import MaskValues, RasterError


def test_values_and_bits():
    rule = MaskValues.parse([3, '8', 'bit3', ' BIT4 '])
    assert rule == MaskValues((3, 8), (3, 4))
    assert str(rule) == '3, 8, bit3, bit4'
    quality = np.array([[0, 3, 8, 16], [24, 7, 32, 65535]], np.uint16)
    expected = [[False, True, True, True], [True, False, False, True]]
    assert rule.is_invalid(quality).tolist() == expected
    assert MaskValues.parse([0]).is_invalid(quality).sum() == 1
    assert not MaskValues.parse([])


@pytest.mark.parametrize('word', ['bit', 'bit32', '-1', '3.5', 'cloud', '3-5', '', 'b3'])
def test_other_words(word):
    with pytest.raises(
        RasterError, match=f"mask value '{word}': expected a value .* bit0 to bit31"
    ):
        MaskValues.parse(['3', word])
