from pathlib import Path

import pytest

from dnas_mmseg.errors import UserError
from dnas_mmseg.mapping.products import MapProducts


def test_products_stand_beside_the_map():
    target = Path('maps/a.b.tif')
    assert MapProducts().paths(target) == {}
    everything = MapProducts(True, True, True, True, qgis_style=True, stac=True).paths(target)
    assert {kind: str(path) for kind, path in everything.items()} == {
        'confidence': 'maps/confidence/a.b.tif',
        'probabilities': 'maps/probabilities/a.b.tif',
        'quick_look': 'maps/quick_look/a.b.png',
        'polygons': 'maps/polygons/a.b.gpkg',
        'qgis_style': 'maps/a.b.qml',
        'stac': 'maps/a.b.stac.json',
    }
    assert list(MapProducts(quick_look=True).paths(target)) == ['quick_look']


def test_what_does_nothing_is_refused():
    with pytest.raises(UserError, match='about polygons: ask for them'):
        MapProducts(min_pixels=4)
    with pytest.raises(UserError, match='min_pixels = 0, simplify = 0: at least 1 and 0'):
        MapProducts(polygons=True, min_pixels=0, simplify=0)
