import pytest

from dnas_mmseg.errors import UserError
from dnas_mmseg.raster import band_names


def test_names_are_compared_in_lower_case():
    assert band_names([' Red', 'NIR']) == ('red', 'nir')
    assert band_names(None) == ()


def test_a_string_and_repeated_names_are_refused():
    with pytest.raises(UserError, match=r'give a list of names, .* for a single one'):
        band_names('red')
    with pytest.raises(UserError, match='a name occurs twice'):
        band_names(('red', 'Red'))
