from pathlib import Path

from dnas_mmseg.mapping.products import MapProducts


def test_each_product_has_a_folder_of_its_own_beside_the_map():
    target = Path('maps/a.b.tif')
    assert MapProducts().paths(target) == {}
    everything = MapProducts(True, True, True, True).paths(target)
    assert {kind: str(path) for kind, path in everything.items()} == {
        'confidence': 'maps/confidence/a.b.tif',
        'probabilities': 'maps/probabilities/a.b.tif',
        'quick_look': 'maps/quick_look/a.b.png',
        'polygons': 'maps/polygons/a.b.gpkg',
    }
    assert list(MapProducts(quick_look=True).paths(target)) == ['quick_look']
