import pytest

from dnas_mmseg.bands import band_names, choose_bands, described_bands
from dnas_mmseg.errors import UserError


def test_names_are_normalized_to_lower_case():
    assert band_names([' Red', 'NIR']) == ('red', 'nir')
    assert band_names(None) == ()


def test_single_string_and_repeated_names_raise():
    with pytest.raises(UserError, match=r'expected a list of names, .* for a single one'):
        band_names('red')
    with pytest.raises(UserError, match='a name occurs twice'):
        band_names(('red', 'Red'))


@pytest.mark.parametrize(
    ('written', 'name'),
    [
        ('B03', 'green'), ('B8A', 'nir08'), ('b12', 'swir22'), ('Near Infrared', 'nir'),
        ('Band 4 (NIR)', 'nir'), ('SWIR 2', 'swir22'), ('B4 - Red', 'red'),
        ('Coastal Aerosol', 'coastal'), ('NDSM', 'ndsm'), ('rededge', 'rededge'),
        # Words take precedence over numbers; a number alone is not resolved.
        ('B3 (Red)', 'red'), ('B8 (Panchromatic)', 'pan'), ('B4', 'b4'), ('B8', 'b8'),
        ('B11', 'b11'), ('B5', 'b5'),
    ],
)  # fmt: skip
def test_aliases_resolve_to_common_names(written, name):
    assert band_names([written]) == (name,)


def test_numbered_descriptions_are_no_names():
    for descriptions in (('Band 1', 'Band 2'), ('b1', 'b2'), ('1', '2'), ('', '')):
        assert described_bands(descriptions) == ('', '')
    assert described_bands(('B1', 'B2', 'B4')) == ('b1', 'b2', 'b4')
    assert described_bands(('Band 1', 'NIR')) == ('', 'nir')


@pytest.mark.parametrize(
    ('descriptions', 'text', 'names'),
    [
        (('B2', 'B3', 'B4', 'B8', 'B8A'), '', ('blue', 'green', 'red', 'nir', 'nir08')),
        (('B02', 'B11'), '', ('blue', 'swir16')),
        (('B4', 'B8'), 'S2A_MSIL2A_20200101.tif', ('red', 'nir')),
        (('B4', 'B8'), 'LC08_L2SP_1.tif', ('red', 'pan')),
        (('B4', 'B5'), 'x.tif LANDSAT_7 ETM', ('nir', 'swir16')),
        (
            ('B1', 'B2'),
            'x.tif Landsat-8',
            ('coastal', 'blue'),
        ),  # consecutive, but the sensor is known
        (('B4', 'B8'), 'sentinel-2 like LANDSAT_8', ('b4', 'b8')),  # two sensors: unknown
        (('B4', 'B8'), 'tracts2_a.tif', ('b4', 'b8')),
    ],
)
def test_band_numbers_are_resolved_by_sensor(descriptions, text, names):
    assert described_bands(descriptions, text) == names


def test_band_numbers_without_a_sensor_are_ambiguous():
    stored = ('b2', 'b3', 'b4', 'b8')
    ambiguous = 'B2, B3, B4, B8: a number means different bands'
    with pytest.raises(UserError, match=f'{ambiguous}.* Set its band names'):
        choose_bands('a', stored, RGBN)
    with pytest.raises(UserError, match=ambiguous):
        choose_bands('a', ('',) * 4, RGBN, user_bands=stored)
    assert choose_bands('a', stored, ('b4', 'b3')).index == (2, 1)
    assert (
        choose_bands('a', ('blue', 'green', 'red', 'nir'), ('b4',), user_bands=stored).notes == ()
    )


RGBN = ('red', 'green', 'blue', 'nir')


def test_bands_are_selected_by_name():
    stored = ('blue', 'green', 'red', 'nir')
    assert choose_bands('a', stored, RGBN) == ((2, 1, 0, 3), RGBN, ())
    assert choose_bands('a', (*stored, 'alpha'), RGBN).index == (2, 1, 0, 3)
    assert choose_bands('a', (*stored, 'ndsm'), ('nir', 'ndsm')).index == (3, 4)
    with pytest.raises(UserError, match='the file has blue, green, red, nir'):
        choose_bands('a', stored, ('red', 'green', 'blue', 'swir16'))


def test_too_few_bands_raise():
    for stored in (('red', 'green', 'blue'), ('', '', '')):
        with pytest.raises(UserError, match='Too few bands for this model'):
            choose_bands('a', stored, RGBN)


def test_single_unnamed_band_is_assumed_to_be_the_missing_one():
    choice = choose_bands('a', ('blue', 'green', 'red', ''), RGBN)
    assert choice.index == (2, 1, 0, 3)
    assert choice.notes == ('a: band 4 has no name, assumed to be nir',)


def test_alpha_is_used_only_if_named_by_the_user():
    stored = ('red', 'green', 'blue', 'alpha')
    assert choose_bands('a', stored).index == (0, 1, 2)
    with pytest.raises(UserError, match=r'band 4 is tagged as alpha .*Set its band names'):
        choose_bands('a', stored, RGBN)
    choice = choose_bands('a', stored, RGBN, user_bands=RGBN)
    assert choice.index == (0, 1, 2, 3)
    assert choice.notes == ('a: band 4 is alpha in the file, but used as nir, as set',)
    assert choose_bands('a', stored, ('blue',), user_bands=('nir', 'red', 'blue')).index == (2,)


def test_unnamed_bands_are_assumed_in_order_with_a_note():
    choice = choose_bands('a', ('',) * 4, RGBN)
    assert choice.index == (0, 1, 2, 3)
    assert 'has no band names: assumed to be red, green, blue, nir' in choice.notes[0]
    choice = choose_bands('a.tif', ('hh', 'hv'), ('vv', 'vh'))
    assert choice.notes == ('a.tif has bands hh, hv: assumed to be vv, vh, in this order',)
    with pytest.raises(UserError, match='5 bands without names'):
        choose_bands('a', ('',) * 5, RGBN)
    with pytest.raises(UserError, match='the file has red, green, blue'):
        choose_bands('a', ('red', 'green', 'blue'), ('nir', 'red', 'green'))
