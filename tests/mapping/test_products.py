"""Selection and paths of map products."""

from pathlib import Path

import pytest

from dnas_mmseg.errors import UserError
from dnas_mmseg.mapping.products import MapProducts


def test_paths_of_products():
    target = Path('maps/a.b.tif')
    everything = MapProducts(True, True, True, True, qgis_style=True, stac=True)
    assert {product.kind: str(product.path(target)) for product in everything} == {
        'map': 'maps/a.b.tif',
        'confidence': 'maps/confidence/a.b.tif',
        'probabilities': 'maps/probabilities/a.b.tif',
        'quick_look': 'maps/quick_look/a.b.png',
        'polygons': 'maps/polygons/a.b.gpkg',
        'qgis_style': 'maps/a.b.qml',
        'stac': 'maps/a.b.stac.json',
    }
    assert [product.kind for product in MapProducts()] == ['map']
    assert [product.kind for product in everything.rasters] == [
        'map',
        'confidence',
        'probabilities',
    ]
    assert [p.kind for p in MapProducts(quick_look=True).derived] == ['quick_look']


def test_invalid_options_of_polygons_are_refused():
    with pytest.raises(UserError, match='min_pixels and simplify require polygons'):
        MapProducts(min_pixels=4)
    with pytest.raises(UserError, match='min_pixels = 0, simplify = 0: at least 1 and 0'):
        MapProducts(polygons=True, min_pixels=0, simplify=0)
