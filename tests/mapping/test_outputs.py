"""Protection of existing files, and cleanup after failures."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from osgeo import gdal, ogr
from torch import nn

from dnas_mmseg.datasets.gid5 import BANDS, CLASSES, PALETTE
from dnas_mmseg.errors import UserError
from dnas_mmseg.files import remove_leftovers
from dnas_mmseg.mapping.products import MapProducts
from dnas_mmseg.mapping.scene import Tiling
from dnas_mmseg.mapping.scenes import SceneError, predict_scenes
from dnas_mmseg.models import MultiBandDataPreProcessor
from dnas_mmseg.raster import GeoReference, read_raster, write_raster

from ..raster.class_maps import wkt
from .conftest import scenes

TILING = Tiling(64, 16)


class Largest(nn.Module):
    """Segmentor stub: the class of a pixel is the band with the largest sample."""

    def __init__(self):
        super().__init__()
        self.data_preprocessor = MultiBandDataPreProcessor([0.0] * 4, [1.0] * 4)
        self.dataset_meta = dict(classes=CLASSES, palette=PALETTE, bands=BANDS)
        self.windows = 0

    def encode_decode(self, inputs, metas):
        self.windows += len(inputs)
        return torch.cat([inputs, torch.full_like(inputs[:, :1], -1e9)], 1)


@pytest.fixture
def model():
    return Largest().eval()


def content(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


def test_sources_of_a_scene_are_never_overwritten(model, tmp_path, rng):
    """A VRT of a TIFF with the same stem; an image next to an unrelated TIFF of its stem."""
    folder = tmp_path / 'in'
    (tif,) = scenes(folder, rng, 'scene')
    gdal.Translate(str(folder / 'scene.vrt'), str(tif), format='VRT')
    before = content(folder)
    with pytest.raises(
        UserError, match=r'scene\.vrt: the map would overwrite its source .*scene\.tif'
    ):
        predict_scenes(model, [folder / 'scene.vrt'], folder)
    image = folder / 'other.img'
    gdal.GetDriverByName('HFA').CreateCopy(str(image), gdal.Open(str(tif)))
    scenes(folder, rng, 'other')
    before = content(folder)
    with pytest.raises(UserError, match=r'other\.tif exists and does not belong to a map of'):
        predict_scenes(model, [image], folder)
    assert content(folder) == before


@pytest.mark.parametrize('name', ['quick_look/a.png', 'a.qml', 'confidence/a.tif', 'a.tif.aux.xml'])
def test_unrelated_files_are_not_overwritten(model, tmp_path, rng, name):
    (scene,) = scenes(tmp_path / 'in', rng, 'a')
    path = tmp_path / 'out' / name
    path.parent.mkdir(parents=True)
    path.write_text('mine')
    products = MapProducts(quick_look=True, qgis_style=True, confidence=True)
    with pytest.raises(UserError, match='exists and does not belong'):
        predict_scenes(model, [scene], tmp_path / 'out', products=products)
    assert path.read_text() == 'mine'


def test_only_a_map_of_the_same_scene_is_overwritten(model, tmp_path, rng):
    place = GeoReference('LOCAL_CS["x",UNIT["m",1]]', 0.0, (10.0, 2.0, 0.0, 50.0, 0.0, -2.0))
    (scene,) = scenes(tmp_path / 'one', rng, 'a', georeference=place)
    predict_scenes(model, [scene], tmp_path / 'out')
    predict_scenes(model, [scene], tmp_path / 'out', products=MapProducts(confidence=True))
    assert (tmp_path / 'out/confidence/a.tif').is_file()
    (moved,) = scenes(tmp_path / 'two', rng, 'a', georeference=place.moved(5, 5))
    for resume in (False, True):
        with pytest.raises(UserError, match=r'does not belong to a map of .*two/a\.tif'):
            predict_scenes(model, [moved], tmp_path / 'out', resume=resume)


def test_scales_of_used_bands_are_compared(model, tmp_path, rng):
    """Scenes with and without a further band, and one with another scale."""
    paths = []
    for name, bands in (('a', BANDS), ('b', ('swir16', *BANDS)), ('c', BANDS)):
        paths.append(tmp_path / f'in/{name}.tif')
        samples = rng.integers(1, 255, (len(bands), 20, 20)).astype(np.uint8)
        write_raster(paths[-1], samples, names=bands)
        dataset = gdal.Open(str(paths[-1]), gdal.GA_Update)
        for i, band in enumerate(bands):
            scale = 7.0 if band == 'swir16' else 0.5 if name == 'c' else 2.0
            dataset.GetRasterBand(i + 1).SetScale(scale)
        del dataset
    for used, count in ((paths[:2], 0), (paths, 1)):
        maps = predict_scenes(model, used, tmp_path / f'out{count}')
        found = [note for notes in maps.values() for note in notes if 'files declare' in note]
        assert len(found) == count
    assert 'declare 2 different scales and offsets' in found[0]


def test_scenes_of_two_dates_have_different_maps(model, tmp_path, rng):
    first, second = (scenes(tmp_path / year, rng, 'a')[0] for year in ('2022', '2023'))
    (target,) = predict_scenes(model, [first], tmp_path / 'out')
    before = target.read_bytes()
    for resume in (False, True):
        with pytest.raises(UserError, match=r'does not belong to a map of .*2023/a\.tif'):
            predict_scenes(model, [second], tmp_path / 'out', resume=resume)
    assert target.read_bytes() == before
    first.rename(tmp_path / 'moved.tif')
    (tmp_path / 'archive').mkdir()
    (tmp_path / 'moved.tif').rename(tmp_path / 'archive/a.tif')
    predict_scenes(model, [tmp_path / 'archive/a.tif'], tmp_path / 'out')  # the same, moved


def test_maps_of_other_weights_are_not_resumed(model, tmp_path, rng):
    (scene,) = scenes(tmp_path / 'in', rng, 'a')
    out, both = tmp_path / 'out', MapProducts(confidence=True, polygons=True)
    model.dataset_meta['weights'] = 'first'
    predict_scenes(model, [scene], out, products=both)
    before = (out / 'polygons/a.gpkg').read_bytes()
    predict_scenes(model, [scene], out, products=both, resume=True)
    windows = model.windows
    model.data_preprocessor.mean[0] = -200.0  # other classes
    model.dataset_meta['weights'] = 'second'
    predict_scenes(model, [scene], out, resume=True)
    assert model.windows == 2 * windows
    # The confidence and the polygons are still those of the first weights.
    predict_scenes(model, [scene], out, products=MapProducts(polygons=True), resume=True)
    assert model.windows == 2 * windows
    assert (out / 'polygons/a.gpkg').read_bytes() != before
    predict_scenes(model, [scene], out, products=both, resume=True)
    assert model.windows == 3 * windows


def edit_polygons(path):
    """Change the class of one polygon, as in QGIS."""
    package = ogr.Open(str(path), update=1)
    layer = package.GetLayer('classes')
    feature = layer.GetNextFeature()
    feature['class'] = 'water'
    layer.SetFeature(feature)
    del feature, layer, package


def test_edited_polygons_are_not_overwritten(model, tmp_path, rng):
    a, b = scenes(tmp_path / 'in', rng, 'a', 'b', size=(32, 32))
    out, products = tmp_path / 'out', MapProducts(polygons=True)
    predict_scenes(model, [a, b], out, products=products)
    first, second = (out / f'polygons/{name}.gpkg' for name in 'ab')
    edit_polygons(first)
    package = ogr.Open(str(second), update=1)  # opened, but not edited
    del package
    os.utime(second)
    edited, windows = first.read_bytes(), model.windows
    assert not predict_scenes(model, [a, b], out, products=products, resume=True)
    for resume, options in ((False, {}), (True, {'min_pixels': 3})):
        with pytest.raises(
            SceneError, match=r'polygons/a\.gpkg was edited since .*: move it, or'
        ) as e:
            predict_scenes(
                model, [a, b], out, products=MapProducts(polygons=True, **options), resume=resume
            )
        assert [path.name for path in e.value.notes] == ['b.tif']
    assert model.windows == windows + 1  # not the scene of the edited polygons
    assert first.read_bytes() == edited
    first.rename(tmp_path / 'mine.gpkg')
    predict_scenes(model, [a], out, products=products)
    assert first.is_file()


def test_polygons_of_other_settings_are_written_again(model, tmp_path, rng):
    (scene,) = scenes(tmp_path / 'in', rng, 'a', size=(32, 32))
    out, path = tmp_path / 'out', tmp_path / 'out/polygons/a.gpkg'
    counts = []
    for options in ({}, {'min_pixels': 9}, {'min_pixels': 9, 'simplify': 1.5}, {}):
        products = MapProducts(polygons=True, **options)
        assert predict_scenes(model, [scene], out, products=products, resume=True)
        package = ogr.Open(str(path))
        counts.append(package.GetLayer('classes').GetFeatureCount())
        assert not predict_scenes(model, [scene], out, products=products, resume=True)
    assert counts[0] == counts[3] > 1.2 * counts[1]
    assert model.windows == 1


@pytest.mark.parametrize(
    ('place', 'note'),
    [
        (GeoReference(), 'has no geotransform, so its coordinates are pixels'),
        (
            GeoReference(wkt(32632), gcps=((0, 0, 5e5, 5e6, 0), (9, 0, 5e5 + 9, 5e6, 0),
                                           (0, 9, 5e5, 5e6 - 9, 0))),
            'has no geotransform, so its coordinates are pixels',
        ),
        (
            GeoReference(transform=(10.0, 2.0, 0.0, 50.0, 0.0, -2.0)),
            'has no CRS, so its polygons have neither CRS nor area',
        ),
        (GeoReference(wkt(32632), transform=(5e5, 2.0, 0.0, 5e6, 0.0, -2.0)), ''),
    ],
)  # fmt: skip
def test_polygons_without_a_georeference_are_noted(model, tmp_path, rng, place, note):
    (scene,) = scenes(tmp_path / 'in', rng, 'a', size=(9, 9), georeference=place)
    ((_, notes),) = predict_scenes(
        model, [scene], tmp_path / 'out', products=MapProducts(polygons=True)
    ).items()
    found = [line for line in notes if 'a.gpkg: the scene' in line]
    assert [line.partition(': the scene ')[2] for line in found] == [note] * bool(note)


def test_file_names_may_contain_colons(model, tmp_path, rng):
    a, b = scenes(tmp_path, rng, 'scene_T10:30', 'other_T11:30')
    maps = predict_scenes(model, [a, b], tmp_path / 'out')
    assert [path.name for path in maps] == ['scene_T10:30.tif', 'other_T11:30.tif']
    for scene, target in zip((a, b), maps, strict=True):
        np.testing.assert_array_equal(read_raster(target)[0], read_raster(scene).argmax(0))


def test_a_bad_scene_does_not_stop_the_others(model, tmp_path, rng):
    a, b, c = scenes(tmp_path / 'in', rng, 'a', 'b', 'c')
    good = b.read_bytes()
    b.write_bytes(good[:2000])
    missing = tmp_path / 'in/none.tif'
    with pytest.raises(SceneError) as failed:
        predict_scenes(model, [a, missing, b, c], tmp_path / 'out')
    head, *lines = str(failed.value).splitlines()
    assert head.startswith('2 of 4 scenes are not mapped; resume (--resume)')
    assert [line.split(':')[0].strip(' -') for line in lines] == [str(missing), str(b)]
    assert [path.name for path in failed.value.notes] == ['a.tif', 'c.tif']
    b.write_bytes(good)
    maps = predict_scenes(model, [a, b, c], tmp_path / 'out', resume=True)
    assert [path.name for path in maps] == ['b.tif']


def test_a_scene_that_changes_during_prediction_fails(model, tmp_path, rng):
    (scene,) = scenes(tmp_path / 'in', rng, 'a', size=(200, 70))
    other = read_raster(scene)[:, ::-1]

    def overwrite(done, total):
        if done == 2:
            write_raster(scene, other)

    with pytest.raises(SceneError, match=r'a\.tif changed during prediction'):
        predict_scenes(
            model, [scene], tmp_path / 'out', tiling=Tiling(64, 16, 1),
            track=lambda name: overwrite,
        )  # fmt: skip
    assert not list((tmp_path / 'out').iterdir())


@pytest.mark.parametrize('overlap', [0, 16, 50])
def test_windows_without_a_valid_pixel_are_skipped(model, tmp_path, rng, overlap):
    samples = np.zeros((4, 300, 1400), np.uint8)
    samples[:, 100:130, 1000:1060] = rng.integers(1, 255, (4, 30, 60))
    samples[:, 290:, :7] = rng.integers(1, 255, (4, 10, 7))
    samples[:, :3, 1390:] = rng.integers(1, 255, (4, 3, 10))
    write_raster(tmp_path / 's.tif', samples, nodata=0)
    steps = []
    predict_scenes(
        model, [tmp_path / 's.tif'], tmp_path / 'out', tiling=Tiling(64, overlap, 3),
        products=MapProducts(confidence=True), track=lambda n: lambda *a: steps.append(a),
    )  # fmt: skip
    expected = np.where(samples[0] == 0, 255, samples.argmax(0))
    np.testing.assert_array_equal(read_raster(tmp_path / 'out/s.tif')[0], expected)
    confidence = read_raster(tmp_path / 'out/confidence/s.tif')[0]
    np.testing.assert_array_equal(confidence == 255, expected == 255)
    done, total = steps[-1]
    assert done == total
    assert model.windows < total / 5


def test_a_scene_without_any_valid_pixel(model, tmp_path):
    write_raster(tmp_path / 's.tif', np.zeros((4, 100, 90), np.uint8), nodata=0)
    predict_scenes(model, [tmp_path / 's.tif'], tmp_path / 'out', tiling=TILING)
    assert (read_raster(tmp_path / 'out/s.tif') == 255).all()
    assert model.windows == 0


def test_temporary_files_of_killed_processes_are_removed(tmp_path):
    """Files of running processes and other hidden files are not removed."""
    script = (
        'import os, sys, signal; from dnas_mmseg.files import atomic_path\n'
        'with atomic_path(sys.argv[1]) as path: os.kill(os.getpid(), signal.SIGKILL)'
    )
    subprocess.run([sys.executable, '-W', 'ignore', '-c', script, tmp_path / 'a.tif'])
    (left,) = tmp_path.iterdir()
    running = tmp_path / left.name.replace(left.name.split('-')[1].split('.')[0], str(os.getpid()))
    shutil.copy(left, running)
    (tmp_path / '.mine.tif').touch()
    remove_leftovers(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {running.name, '.mine.tif'}


def test_class_names_are_written_before_the_map(model, tmp_path, rng, monkeypatch):
    """A process that is killed in between leaves no map that looks finished."""
    (scene,) = scenes(tmp_path / 'in', rng, 'a')
    seen, replace = [], os.replace

    def watch(source, target):
        replace(source, target)
        seen.append(os.path.relpath(target, tmp_path / 'out'))

    monkeypatch.setattr(os, 'replace', watch)
    products = MapProducts(confidence=True, probabilities=True)
    predict_scenes(model, [scene], tmp_path / 'out', products=products)
    assert seen == ['probabilities/a.tif', 'confidence/a.tif', 'a.tif.aux.xml', 'a.tif']
