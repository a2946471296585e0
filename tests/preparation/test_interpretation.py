"""What files say about bands and classes, and what users must say."""

from collections import Counter

import pytest

from dnas_mmseg.datasets import DatasetError
from dnas_mmseg.preparation.interpretation import (
    MissingSettingsError,
    interpret,
    parse_label_values,
)
from dnas_mmseg.preparation.pairs import PairContent


def content(values, bands=('red', 'nir'), table=(), alpha=False, name='a'):
    return PairContent(
        name, f'{name}.tif', f'{name}.png', (8, 8), 'uint8', bands,
        values=Counter(values), colour_table=table, has_alpha=alpha,
    )  # fmt: skip


@pytest.mark.parametrize(
    ('values', 'expected'),
    [
        ({0: 5, 1: 5}, {'0': 'class_0', '1': 'class_1'}),
        ({0: 5, 255: 5}, {'0': 'class_0', '255': 'class_255'}),
        ({1: 5, 2: 5, 3: 1}, {'1': 'class_1', '2': 'class_2', '3': 'class_3'}),
        ({10: 5, 2: 5}, {'2': 'class_2', '10': 'class_10'}),
        ({0: 5, 1: 5, 255: 2}, {'0': 'class_0', '1': 'class_1', '255': None}),
        ({1: 5, 2: 5, 255: 2}, {'1': 'class_1', '2': 'class_2', '255': None}),
        (
            {(255, 0, 0): 5, (0, 0, 255): 3},
            {'#0000ff': 'class_0000ff', '#ff0000': 'class_ff0000'},
        ),
    ],
)
def test_a_class_per_value(values, expected):
    description, _ = interpret([content(values)])
    assert description.label_values == expected
    assert description.bands == ('red', 'nir')


def test_classes_and_unlabelled_values_are_set():
    values = {0: 5, 1: 5, 2: 5}
    description, notes = interpret([content(values)], unlabelled=('0',), classes=('a', 'b'))
    assert description.label_values == {'0': None, '1': 'a', '2': 'b'}
    assert notes == []
    every, _ = interpret([content(values)], unlabelled=('none',))
    assert every.classes == ('class_0', 'class_1', 'class_2')
    merged, _ = interpret(
        [content(values)], label_values=parse_label_values(['0=', '1=land', '2=land'])
    )
    assert merged.classes == ('land',)


def test_unlabelled_values_are_added_to_the_classes_of_values():
    words = parse_label_values(['1=a', '2=b'])
    description, _ = interpret([content({1: 5, 2: 5, 3: 1})], label_values=words, unlabelled=('3',))
    assert description.label_values == {'1': 'a', '2': 'b', '3': None}
    every = parse_label_values(['1=a', '2=b', '3='])
    again, _ = interpret([content({1: 5, 2: 5, 3: 1})], label_values=every, unlabelled=('3',))
    assert again.label_values == description.label_values


def test_negative_values_may_be_unlabelled():
    values = {-9999: 5, 0: 2, 1: 2, 2: 1}
    with pytest.raises(MissingSettingsError) as error:
        interpret([content(values)])
    assert str(error.value) == (
        '--unlabelled: label values -9999 (50 % of the pixels), 0 (20 % of the pixels) are classes '
        'or unlabelled: --unlabelled -9999 0, or some of them, or --unlabelled none'
    )
    with pytest.raises(MissingSettingsError, match=r'label value -1 .*: --unlabelled -1 or --unl'):
        interpret([content({-1: 5, 1: 1, 2: 1})])
    description, _ = interpret([content(values)], unlabelled=('-9999',))
    assert description.label_values == {
        '-9999': None, '0': 'class_0', '1': 'class_1', '2': 'class_2',
    }  # fmt: skip


def test_zero_stands_for_black_in_colours():
    values = {(0, 0, 0): 5, (255, 0, 0): 5, (0, 0, 255): 3}
    with pytest.raises(MissingSettingsError, match="--unlabelled '#000000' or --unlabelled none"):
        interpret([content(values)])
    for text in ('0', '#000000'):
        description, _ = interpret([content(values)], unlabelled=(text,))
        assert description.label_values['#000000'] is None
        assert len(description.classes) == 2


def test_colours_of_the_labels_are_the_palette():
    colours, _ = interpret([content({(255, 0, 0): 5, (0, 0, 255): 3})])
    assert colours.palette == ((0, 0, 255), (255, 0, 0))
    table = ((0, 0, 0), (10, 20, 30), (40, 50, 60))
    paletted, _ = interpret([content({1: 5, 2: 5}, table=table)])
    assert paletted.palette == table[1:]
    black, _ = interpret([content({1: 5, 2: 5}, table=((0, 0, 0),) * 3)])
    assert len(set(black.palette)) == 2


def test_paletted_labels_are_colours_if_their_tables_differ():
    black, red, blue = (0, 0, 0), (255, 0, 0), (0, 0, 255)
    contents = [
        content({0: 60, 1: 4}, table=(black, red)),
        content({0: 60, 1: 3, 2: 1}, table=(black, blue, red), name='b'),
    ]
    description, notes = interpret(contents, unlabelled=('#000000',))
    assert description.label_values == {
        '#000000': None, '#0000ff': 'class_0000ff', '#ff0000': 'class_ff0000',
    }  # fmt: skip
    assert description.palette == (blue, red)
    assert notes[0].endswith(
        '1 is #ff0000 in a.png and #0000ff in b.png; --label-values with integers reads the stored '
        'values'
    )
    words = parse_label_values(['0=', '1=a', '2=b'])
    assert interpret(contents, label_values=words)[0].label_values == words
    # Entries that a label does not use may differ.
    same = [contents[0], content({0: 6, 2: 5}, table=(black, blue, red), name='b')]
    assert interpret(same, unlabelled=('0',))[0].label_values == {
        '0': None, '1': 'class_1', '2': 'class_2',
    }  # fmt: skip


def test_colours_of_paletted_labels_are_classes_on_request():
    table = ((0, 0, 0), (255, 0, 0), (0, 0, 255))
    words = parse_label_values(['#000000=', '#FF0000=a', '#0000ff=b'])
    description, _ = interpret([content({0: 2, 1: 5, 2: 5}, table=table)], label_values=words)
    assert description.palette == table[1:]
    assert description.labels.codes == dict(zip(table, (255, 0, 1), strict=True))
    with pytest.raises(DatasetError, match=r'a\.png: value 3 has no colour .*has 3 entries'):
        interpret([content({0: 2, 3: 5}, table=table)], label_values=words)


def test_questions_are_asked_together():
    with pytest.raises(MissingSettingsError) as error:
        interpret([content({0: 5, 1: 4, 2: 1}, bands=('', '', '', ''))])
    assert str(error.value).splitlines() == [
        '--bands: a.tif has 4 bands (unnamed band 1, unnamed band 2, unnamed band 3, unnamed band '
        '4); name them in file order, e.g. --bands red green blue nir',
        '--unlabelled: label value 0 (50 % of the pixels) is a class or unlabelled: --unlabelled 0 '
        'or --unlabelled none',
    ]


def test_different_band_names_are_asked_for():
    contents = [content({1: 1, 2: 1}), content({1: 1, 2: 1}, bands=('nir', 'red'), name='b')]
    with pytest.raises(MissingSettingsError, match=r'different band names, .*red.*b\.tif'):
        interpret(contents)
    assert interpret(contents, bands=('x', 'y'))[0].bands == ('x', 'y')


def test_alpha_may_be_a_band():
    rgb = ('red', 'green', 'blue')
    tagged = content({1: 1, 2: 1}, bands=rgb, alpha=True)
    description, notes = interpret([tagged])
    assert description.bands == rgb
    assert 'tagged as alpha' in notes[0]
    assert interpret([tagged], bands=(*rgb, 'nir'))[0].bands == (*rgb, 'nir')


@pytest.mark.parametrize(
    ('values', 'settings', 'message'),
    [
        ({1: 1, 2: 1}, dict(bands=('a',)), 'has 2 bands, but --bands has 1: a'),
        ({1: 1, 2: 1}, dict(classes=('a',)), '--classes has 1 names for the 2 values 1, 2'),
        ({1: 1, 2: 1}, dict(unlabelled=('7',)), '--unlabelled 7: the labels have 1, 2'),
        (
            {1: 1, 2: 1},
            dict(label_values={'1': 'a', '2': 'b'}, unlabelled=('2',)),
            '--unlabelled 2: --label-values has 2=b: remove one of them',
        ),
        (
            {1: 1, 2: 1},
            dict(label_values={'1': 'a', '2': None}, unlabelled=('none',)),
            '--unlabelled none: --label-values has 2=',
        ),
        (
            {1: 1, 2: 1},
            dict(label_values={'1': 'a', '2': 'b'}, unlabelled=('7',)),
            '--unlabelled 7: the labels have 1, 2',
        ),
        (
            {1: 1, 2: 1},
            dict(label_values={'1': 'a', '2': 'b'}, classes=('a', 'b')),
            '--classes does not apply: --label-values has the names',
        ),
        ({1: 1}, {}, 'the values 1, so fewer than two classes'),
        (dict.fromkeys(range(1, 99), 1), {}, 'the labels have 98 values, such as 1, 2, .* merge'),
        ({1: 1, 2: 3}, dict(label_values={'1': 'a'}), r'without a class: 2 \(75 % of the pixels'),
    ],
)
def test_settings_that_do_not_match(values, settings, message):
    with pytest.raises(DatasetError, match=message):
        interpret([content(values)], **settings)


def test_images_of_different_numbers_of_bands():
    contents = [content({1: 1, 2: 1}), content({1: 1}, bands=('red',), name='b')]
    with pytest.raises(DatasetError, match=r'different numbers of bands: 2 \(a\.tif\), 1 \(b\.tif'):
        interpret(contents)


def test_words_of_label_values():
    for words, message in ((['10'], 'expected VALUE=CLASS'), (['1=a', '1=b'], 'has 1 twice')):
        with pytest.raises(DatasetError, match=message):
            parse_label_values(words)
