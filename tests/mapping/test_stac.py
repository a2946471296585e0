"""STAC items, read back with pystac."""

import hashlib
from datetime import datetime, timezone
from itertools import pairwise

import numpy as np
import pytest
from osgeo import osr

from dnas_mmseg.classes import ClassScheme
from dnas_mmseg.datasets.gid5 import CLASSES, PALETTE
from dnas_mmseg.mapping.model_card import ModelMetadata
from dnas_mmseg.mapping.stac import write_map_item, write_model_item
from dnas_mmseg.raster import GeoReference, Raster, write_raster, write_strips

pystac = pytest.importorskip('pystac', reason="pystac is not installed: extra 'stac'")

SCHEME = ClassScheme(CLASSES, PALETTE)


def utm(zone: int) -> str:
    system = osr.SpatialReference()
    system.ImportFromEPSG(32600 + zone)
    return system.ExportToWkt()


def mapped(folder, georeference):
    path = folder / 'maps/a scene.tif'
    with write_strips(
        path, height=200, width=300, nodata=255, georeference=georeference,
        classes=SCHEME, resampling='MODE',
    ) as write:  # fmt: skip
        write(np.zeros((1, 200, 300), np.uint8), 0)
    scene = folder / 'a scene.tif'
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
