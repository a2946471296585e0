"""Names and colours of classes."""

import pytest

from dnas_mmseg.classes import ClassScheme, default_palette
from dnas_mmseg.errors import UserError


def test_a_scheme_pairs_names_and_colours():
    scheme = ClassScheme.from_metainfo(dict(classes=['a', 'b'], palette=[[1, 2, 3], [4, 5, 6]]))
    assert list(scheme) == [('a', (1, 2, 3)), ('b', (4, 5, 6))]
    assert len(scheme) == 2
    with pytest.raises(UserError, match='2 classes, but 1 colours'):
        ClassScheme(('a', 'b'), ((0, 0, 0),))


def test_classes_without_a_palette_get_colours():
    scheme = ClassScheme.from_metainfo(dict(classes=('a', 'b', 'c')))
    assert scheme.palette == default_palette(3)


def test_default_palette_is_distinct():
    colours = default_palette(24)
    assert len(set(colours)) == 24
    assert all(len(c) == 3 and max(c) <= 255 for c in colours)
