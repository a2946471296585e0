"""STAC items and collections, read back with pystac."""

import hashlib
import json
from datetime import datetime, timezone
from itertools import pairwise

import numpy as np
import pytest
from osgeo import osr

from dnas_mmseg.classes import ClassScheme
from dnas_mmseg.datasets.gid5 import CLASSES, PALETTE
from dnas_mmseg.errors import UserError
from dnas_mmseg.mapping import stac
from dnas_mmseg.mapping.model_card import ModelMetadata
from dnas_mmseg.mapping.stac import write_collection, write_map_item, write_model_item
from dnas_mmseg.raster import GeoReference, Raster, write_raster, write_strips

pystac = pytest.importorskip('pystac', reason="pystac is not installed: extra 'stac'")

SCHEME = ClassScheme(CLASSES, PALETTE)


def utm(zone: int) -> str:
    system = osr.SpatialReference()
    system.ImportFromEPSG(32600 + zone)
    return system.ExportToWkt()


def mapped(folder, georeference, name='a scene'):
    path = folder / f'maps/{name}.tif'
    with write_strips(
        path, height=200, width=300, nodata=255, georeference=georeference,
        classes=SCHEME, resampling='MODE',
    ) as write:  # fmt: skip
        write(np.zeros((1, 200, 300), np.uint8), 0)
    scene = folder / f'{name}.tif'
    write_raster(scene, np.zeros((4, 200, 300), np.uint8), georeference=georeference)
    with Raster(scene) as raster:
        return path, raster.info


def test_items_have_footprint_classes_and_checksum(tmp_path):
    from pystac.extensions.classification import ClassificationExtension
    from pystac.extensions.file import FileExtension
    from pystac.extensions.projection import ProjectionExtension
    from pystac.extensions.raster import RasterExtension

    place = GeoReference(utm(50), 0.0, (500000.0, 4.0, 0.0, 4000000.0, 0.0, -4.0))
    path, scene = mapped(tmp_path, place)
    scene = type(scene)(**{**scene.__dict__, 'acquired': '2015-06-01 03:04:05'})
    target = path.with_suffix('.stac.json')
    assert write_map_item(target, path, scene, SCHEME) == []
    item = pystac.Item.from_file(str(target))
    # pystac contains the core schema; those of extensions require network access.
    core = {**item.to_dict(), 'stac_extensions': []}
    pystac.validation.validate_dict(core)
    assert item.id == 'a scene'
    assert item.datetime == datetime(2015, 6, 1, 3, 4, 5, tzinfo=timezone.utc)
    # The central meridian of zone 50 is 117 degrees east.
    west, south, east, north = item.bbox
    assert west == pytest.approx(117, abs=1e-9)
    assert east - west == pytest.approx(1200 / 90500, rel=0.02)
    assert north == pytest.approx(36.144, abs=0.01)
    assert (north - south) * 110950 == pytest.approx(800, rel=0.01)
    ring = item.geometry['coordinates'][0]
    assert ring[0] == ring[-1]
    assert len(ring) == 5
    area = sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise(ring))
    assert area > 0  # counterclockwise, as GeoJSON requires
    projection = ProjectionExtension.ext(item)
    assert projection.epsg == 32650
    assert projection.shape == [200, 300]
    assert projection.transform == [4, 0, 500000, 0, -4, 4000000]
    asset = item.assets['map']
    assert asset.href.endswith('a scene.tif')
    (band,) = RasterExtension.ext(asset).bands
    assert (band.nodata, band.data_type) == (255, 'uint8')
    classes = ClassificationExtension.ext(asset).classes
    assert [(c.value, c.title, c.color_hint) for c in classes][:2] == [
        (0, 'built-up', 'FF0000'), (1, 'farmland', '00FF00'),
    ]  # fmt: skip
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert FileExtension.ext(asset).checksum == f'1220{digest}'
    assert FileExtension.ext(asset).size == path.stat().st_size


def test_missing_metadata_are_reported(tmp_path):
    path, scene = mapped(tmp_path, GeoReference())
    notes = write_map_item(tmp_path / 'a.json', path, scene, SCHEME)
    assert len(notes) == 2
    assert 'no georeference' in notes[0]
    assert 'has no acquisition time' in notes[1]
    item = pystac.Item.from_file(str(tmp_path / 'a.json'))
    pystac.validation.validate_dict({**item.to_dict(), 'stac_extensions': []})
    assert item.geometry is None
    assert item.assets['map'].href.endswith('maps/a scene.tif')


def test_footprints_across_the_antimeridian_are_split(tmp_path):
    place = GeoReference(utm(60), 0.0, (820000.0, 100.0, 0.0, 1000000.0, 0.0, -100.0))
    path, scene = mapped(tmp_path, place)
    write_map_item(tmp_path / 'a.stac.json', path, scene, SCHEME)
    item = pystac.Item.from_file(str(tmp_path / 'a.stac.json'))
    pystac.validation.validate_dict({**item.to_dict(), 'stac_extensions': []})
    west, _, east, _ = item.bbox
    assert 179 < west < 180
    assert -180 < east < -179
    assert item.geometry['type'] == 'MultiPolygon'
    longitudes = [x for part in item.geometry['coordinates'] for x, _ in part[0]]
    assert max(map(abs, longitudes)) <= 180


def test_a_crs_without_a_code_is_written_as_wkt2(tmp_path):
    system = osr.SpatialReference()
    system.ImportFromProj4('+proj=laea +lat_0=50 +lon_0=10 +datum=WGS84')
    place = GeoReference(system.ExportToWkt(), 0.0, (0.0, 10.0, 0.0, 0.0, 0.0, -10.0))
    path, scene = mapped(tmp_path, place)
    write_map_item(tmp_path / 'a.stac.json', path, scene, SCHEME)
    properties = pystac.Item.from_file(str(tmp_path / 'a.stac.json')).properties
    assert properties['proj:wkt2'].startswith('PROJCRS[')


def test_acquisition_time_is_read_from_the_metadata(tmp_path):
    folder = tmp_path / 'scene'
    write_raster(folder / 'a.tif', np.zeros((4, 8, 8), np.uint8))
    # Metadata file of DigitalGlobe products, which GDAL reads with the image.
    (folder / 'a.IMD').write_text(
        'version = "28.3";\nBEGIN_GROUP = IMAGE_1\n\tsatId = "WV02";\n'
        '\tfirstLineTime = 2015-06-01T03:04:05.000000Z;\nEND_GROUP = IMAGE_1\nEND;\n'
    )
    with Raster(folder / 'a.tif') as raster:
        assert raster.info.acquired == '2015-06-01 03:04:05'


def test_model_items_of_binary_heads_and_special_class_names(tmp_path):
    model = tmp_path / 'water.onnx'
    model.write_bytes(b'a graph')
    metadata = ModelMetadata(
        name='water', network='DNAS',
        classes=('水体', 'dry (land)'), palette=((0, 0, 255), (9, 9, 9)),
        bands=('nir',), mean=(0.0,), std=(1.0,), window=64, outputs=1, parameters=1, macs=1,
    )  # fmt: skip
    write_model_item(tmp_path / 'water.stac.json', model, metadata)
    properties = pystac.Item.from_file(str(tmp_path / 'water.stac.json')).properties
    (output,) = properties['mlm:output']
    assert output['result']['shape'] == [-1, 1, 64, 64]
    classes = output['classification:classes']
    assert [(c['name'], c['title']) for c in classes] == [
        ('class-0', '水体'), ('dry-land', 'dry (land)'),
    ]  # fmt: skip


def add_map(folder, name, zone, day, collection='maps'):
    """Write a map and its item; without a georeference if ``zone`` is None."""
    where = GeoReference() if zone is None else GeoReference(
        utm(zone), 0.0, (500000.0, 4.0, 0.0, 4000000.0, 0.0, -4.0)
    )  # fmt: skip
    path, scene = mapped(folder, where, name)
    scene = type(scene)(**{**scene.__dict__, 'acquired': f'2023-06-{day:02} 10:00:00'})
    write_map_item(path.with_suffix('.stac.json'), path, scene, SCHEME, collection)
    return path


def read_collection(path):
    """Read a collection after validating it and its items."""
    collection = pystac.Collection.from_file(str(path))
    pystac.validation.validate_dict(collection.to_dict())
    for item in collection.get_items():
        pystac.validation.validate_dict({**item.to_dict(), 'stac_extensions': []})
    return collection


def test_a_collection_contains_the_maps_of_its_folder(tmp_path):
    names = {'a scene': 32, 'b.1': 50, 'c': None}
    maps = [
        # The item of the second one was written without a collection.
        add_map(tmp_path, name, zone, day, '' if zone == 50 else 'maps')
        for day, (name, zone) in enumerate(names.items(), 3)
    ]
    folder = tmp_path / 'maps'
    (folder / 'model.stac.json').write_text('{"assets": {"model": {}}}')
    (folder / 'other.json').write_text('[]')
    path = write_collection(folder)
    assert path == folder / 'collection.json'
    collection = read_collection(path)
    assert (collection.id, collection.license) == ('maps', 'other')
    items = list(collection.get_items())
    assert [item.id for item in items] == list(names)
    for item, found in zip(items, maps, strict=True):
        assert item.collection_id == 'maps'
        assert item.get_collection() is item.get_parent() is item.get_root() is collection
        alone = pystac.Item.from_file(str(found.with_suffix('.stac.json')))
        assert alone.get_collection().id == alone.get_parent().id == alone.get_root().id == 'maps'
        assert alone.assets['map'].href.endswith(found.name)
    (box,) = collection.extent.spatial.bboxes
    first, second = items[0].bbox, items[1].bbox
    assert box == [first[0], second[1], second[2], second[3]]
    assert box[0] == pytest.approx(9, abs=1e-9)
    assert box[2] == pytest.approx(117.0132, abs=1e-3)
    (times,) = collection.extent.temporal.intervals
    assert [time.isoformat() for time in times] == [
        '2023-06-03T10:00:00+00:00', '2023-06-05T10:00:00+00:00',
    ]  # fmt: skip
    links = json.loads(path.read_text())['links']
    for item in maps:
        links += json.loads(item.with_suffix('.stac.json').read_text())['links']
    assert {link['rel'] for link in links} == {'root', 'item', 'parent', 'collection'}
    assert all(link['href'].startswith('./') for link in links)
    # The folder may be renamed; the id stays.
    folder.rename(tmp_path / 'renamed')
    assert read_collection(write_collection(tmp_path / 'renamed')).id == 'maps'


def test_a_collection_across_the_antimeridian_has_all_longitudes(tmp_path):
    add_map(tmp_path, 'a', 32, 1)
    place = GeoReference(utm(60), 0.0, (820000.0, 100.0, 0.0, 1000000.0, 0.0, -100.0))
    path, scene = mapped(tmp_path, place, 'b')
    write_map_item(path.with_suffix('.stac.json'), path, scene, SCHEME)
    (box,) = read_collection(write_collection(tmp_path / 'maps')).extent.spatial.bboxes
    assert (box[0], box[2]) == (-180, 180)
    assert 8 < box[1] < 10
    assert 36 < box[3] < 37


def test_maps_that_are_added_meanwhile_are_in_the_collection(tmp_path, monkeypatch):
    add_map(tmp_path, 'a', 32, 1)
    write = stac.write_json
    calls = []

    def write_slowly(path, document):
        if path.name == 'collection.json' and not calls:
            calls.append(path)
            add_map(tmp_path, 'b', 50, 2)  # another process, which writes its collection, too
            assert [i.id for i in read_collection(write_collection(path.parent)).get_items()] == [
                'a', 'b',
            ]  # fmt: skip
        write(path, document)

    monkeypatch.setattr(stac, 'write_json', write_slowly)
    collection = read_collection(write_collection(tmp_path / 'maps'))
    assert [item.id for item in collection.get_items()] == ['a', 'b']


def test_delimiters_in_names_are_encoded(tmp_path):
    path, scene = mapped(tmp_path, GeoReference(), 'b#1')
    notes = write_map_item(path.with_suffix('.stac.json'), path, scene, SCHEME)
    assert "b#1.stac.json: the name of the map contains '#' or '?'" in notes[-1]
    item = json.loads(path.with_suffix('.stac.json').read_text())
    assert item['assets']['map']['href'] == 'b%231.tif'
    links = json.loads(write_collection(tmp_path / 'maps').read_text())['links']
    assert links[-1]['href'] == './b%231.stac.json'


def test_other_documents_are_not_overwritten(tmp_path):
    assert write_collection(tmp_path) is None
    path = tmp_path / 'collection.json'
    path.write_text('{"type": "Collection", "id": "mine", "providers": [{"name": "me"}]}')
    with pytest.raises(UserError, match=r'collection\.json exists and is not a collection of maps'):
        write_collection(tmp_path)
    assert 'mine' in path.read_text()
    path.unlink()
    (tmp_path / 'a.stac.json').write_text('{"assets": {"map": {}}}')
    with pytest.raises(UserError, match=r'a\.stac\.json: not the item of a map \(KeyError'):
        write_collection(tmp_path)
    (tmp_path / 'a.stac.json').write_text('{"assets": ')
    with pytest.raises(UserError, match=r'a\.stac\.json: not valid JSON'):
        write_collection(tmp_path)
