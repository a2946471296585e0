"""Labels of scenes from polygons and from rasters on other grids."""

import json
import shutil

import numpy as np
import pytest
from osgeo import gdal

from dnas_mmseg.datasets import DatasetDescription, DatasetError
from dnas_mmseg.preparation.init_data_root import InitSettings, init_data_root
from dnas_mmseg.preparation.label_rasters import PolygonRules, make_label_rasters
from dnas_mmseg.preparation.scenes import Scene, find_scenes
from dnas_mmseg.raster import GeoReference, Raster, read_raster, write_raster

from ..raster.test_vectors import TRANSFORM, UTM, square, write

DESCRIPTION = DatasetDescription(bands=('red',), classes=('forest', 'water', 'background'))
REFERENCE = GeoReference(crs=UTM.ExportToWkt(), transform=TRANSFORM)


def make_scene(folder, name='a', label='a.gpkg', transform=TRANSFORM):
    reference = GeoReference(crs=UTM.ExportToWkt(), transform=transform)
    path = folder / f'scenes/{name}.tif'
    write_raster(path, np.ones((1, 40, 50), np.uint8), georeference=reference)
    return Scene(name, path, folder / label)


def make_label(folder, description=DESCRIPTION, **rules):
    scenes, notes = make_label_rasters(
        [make_scene(folder)], folder / 'out', description, rules=PolygonRules('class', **rules)
    )
    return read_raster(scenes[0].label)[0], notes


def test_polygons_become_train_ids(tmp_path):
    shapes = [(square(0, 0, 10, 10), 'water', 0), (square(20, 0, 50, 40), 'forest', 0)]
    write(tmp_path / 'a.gpkg', shapes)
    label, notes = make_label(tmp_path)
    expected = np.full((40, 50), 255)
    expected[:10, :10], expected[:, 20:] = 1, 0
    np.testing.assert_array_equal(label, expected)
    assert notes == []
    with Raster(tmp_path / 'out/label_rasters/a.tif') as raster:
        assert raster.info.georeference.transform == TRANSFORM


def test_area_of_interest_and_background(tmp_path):
    write(tmp_path / 'a.gpkg', [(square(0, 0, 10, 10), 'water', 0)])
    write(tmp_path / 'aoi.gpkg', [(square(5, 5, 30, 30), 'x', 0)])
    area = str(tmp_path / 'aoi.gpkg')
    with_background, _ = make_label(tmp_path, area_of_interest=area, background='background')
    expected = np.full((40, 50), 255)
    expected[5:30, 5:30] = 2
    expected[5:10, 5:10] = 1
    np.testing.assert_array_equal(with_background, expected)
    expected[expected == 2] = 255
    without, _ = make_label(tmp_path, area_of_interest=area)
    np.testing.assert_array_equal(without, expected)


def test_values_are_mapped_and_left_out(tmp_path):
    shapes = [(square(0, 0, 10, 10), '10', 0), (square(20, 0, 30, 40), '99', 0)]
    write(tmp_path / 'a.gpkg', shapes)
    write(tmp_path / 'aoi.gpkg', [(square(0, 0, 50, 40), 'x', 0)])
    description = DatasetDescription(
        classes=('forest', 'background'), label_values={'10': 'forest', '99': None}
    )
    label, _ = make_label(
        tmp_path, description, area_of_interest=str(tmp_path / 'aoi.gpkg'), background='background'
    )
    assert [label[5, 5], label[5, 25], label[5, 45]] == [0, 255, 1]


@pytest.mark.parametrize('value', [None, ' '])
@pytest.mark.parametrize('values', [{}, {'forest': 'forest'}])
def test_polygons_without_a_class_are_unlabelled(tmp_path, value, values):
    write(tmp_path / 'aoi.gpkg', [(square(0, 0, 50, 40), 'x', 0)])
    shapes = [(square(0, 0, 10, 10), 'forest', 0), (square(20, 0, 30, 40), value, 0)]
    write(tmp_path / 'a.gpkg', shapes)
    description = DatasetDescription(classes=('forest', 'background'), label_values=values)
    label, notes = make_label(
        tmp_path, description, area_of_interest=str(tmp_path / 'aoi.gpkg'), background='background'
    )
    assert [label[5, 5], label[5, 25], label[5, 45]] == [0, 255, 1]
    assert notes == [f"{tmp_path}/a.gpkg: features without 'class' are unlabelled"]


@pytest.mark.parametrize(
    ('description', 'rules', 'message'),
    [
        (
            DESCRIPTION, {},
            r"'class' has the values 'lake' \(2 features\), expected "
            'forest, water, background: add VALUE=CLASS of each',
        ),
        (DESCRIPTION, dict(overlap='middle'), r"overlap = 'middle': choose error, first, last or"),
        (DESCRIPTION, dict(background='water'), 'a background class requires an area of interest'),
        (
            DESCRIPTION, dict(area_of_interest='aoi.gpkg', background='land'),
            "background 'land' is not among the classes forest, water, background",
        ),
    ],
)  # fmt: skip
def test_bad_polygons_and_rules(tmp_path, description, rules, message):
    shapes = [(square(i, 0, i + 1, 9), name, 0) for i, name in enumerate(('lake', 'lake', None))]
    write(tmp_path / 'a.gpkg', shapes)
    with pytest.raises(DatasetError, match=message):
        make_label(tmp_path, description, **rules)


def test_classes_must_be_known(tmp_path):
    with pytest.raises(DatasetError, match='the classes are unknown: set classes or label_values'):
        make_label_rasters([], tmp_path, DatasetDescription(label_convention='rgb'))


def test_scenes_without_polygons_are_skipped(tmp_path):
    write(tmp_path / 'all.gpkg', [(square(0, 0, 10, 10), 'water', 0)])
    far = (TRANSFORM[0] + 1e5, *TRANSFORM[1:])
    scenes = [make_scene(tmp_path, 'a', 'all.gpkg'), make_scene(tmp_path, 'b', 'all.gpkg', far)]
    rules = PolygonRules('class')
    found, notes = make_label_rasters(scenes, tmp_path / 'out', DESCRIPTION, rules=rules)
    assert [scene.name for scene in found] == ['a']
    assert notes == [
        f'{tmp_path}/scenes/b.tif: skipped, no polygon of {tmp_path}/all.gpkg touches it'
    ]
    with pytest.raises(DatasetError, match=r'no scene has a label:\n.*b\.tif: skipped'):
        make_label_rasters(scenes[1:], tmp_path / 'other', DESCRIPTION, rules=rules)


def test_labels_are_reused_until_something_changes(tmp_path):
    write(tmp_path / 'a.gpkg', [(square(0, 0, 10, 10), 'water', 0)])
    make_label(tmp_path)
    path = tmp_path / 'out/label_rasters/a.tif'
    scene, rules = make_scene(tmp_path), PolygonRules('class')
    make_label_rasters([scene], tmp_path / 'out', DESCRIPTION, rules=rules)
    before = path.stat().st_mtime_ns
    make_label_rasters([scene], tmp_path / 'out', DESCRIPTION, rules=rules)
    assert path.stat().st_mtime_ns == before
    (tmp_path / 'a.gpkg').unlink()
    write(tmp_path / 'a.gpkg', [(square(0, 0, 20, 10), 'water', 0)])
    make_label_rasters([scene], tmp_path / 'out', DESCRIPTION, rules=rules)
    assert (read_raster(path)[0] == 1).sum() == 200


def test_labels_with_changed_sources_are_made_again(tmp_path):
    codes(tmp_path, 'source.tif', np.full((40, 50), 10, np.uint8), TRANSFORM)
    gdal.BuildVRT(str(tmp_path / 'a.vrt'), [str(tmp_path / 'source.tif')])
    scene = make_scene(tmp_path, label='a.vrt')
    for code, expected in ((10, 0), (20, 1)):
        codes(tmp_path, 'source.tif', np.full((40, 50), code, np.uint8), TRANSFORM)
        scenes, _ = make_label_rasters([scene], tmp_path / 'out', CODES, resampling='nearest')
        assert (read_raster(scenes[0].label) == expected).all()


@pytest.mark.skipif(int(gdal.VersionInfo()) < 3060000, reason='GDAL cannot write file geodatabases')
@pytest.mark.parametrize('labels', ['all.gdb', '{name}.gdb', 'folder'])
def test_file_geodatabases(tmp_path, labels):
    path = tmp_path / {'{name}.gdb': 'a.gdb', 'folder': 'folder/a.gdb'}.get(labels, labels)
    path.parent.mkdir(exist_ok=True)
    make_scene(tmp_path)
    for right in (10, 20):
        shutil.rmtree(path, ignore_errors=True)
        (tmp_path / 'a.gpkg').unlink(missing_ok=True)
        write(tmp_path / 'a.gpkg', [(square(0, 0, right, 10), 'water', 0)])
        options = dict(format='OpenFileGDB', geometryType='MULTIPOLYGON')
        gdal.VectorTranslate(str(path), str(tmp_path / 'a.gpkg'), **options)
        scenes = find_scenes(tmp_path, 'scenes/*.tif', labels)
        assert [scene.label for scene in scenes] == [path]
        rules = PolygonRules('class')
        scenes, _ = make_label_rasters(scenes, tmp_path / 'out', DESCRIPTION, rules=rules)
        assert (read_raster(scenes[0].label)[0] == 1).sum() == 10 * right


def codes(folder, name, samples, transform, crs=UTM):
    """Write a label raster of codes 10 (forest), 20 (water) and 30 (unlabelled)."""
    reference = GeoReference(crs=crs.ExportToWkt(), transform=transform)
    write_raster(folder / name, samples, georeference=reference)


CODES = DatasetDescription(
    classes=('forest', 'water'), label_values={'10': 'forest', '20': 'water', '30': None}
)


def test_coarse_labels_are_resampled_by_nearest_neighbours(tmp_path):
    samples = np.full((8, 10), 10, np.uint8)
    samples[2:4, 3], samples[7, 9] = 20, 30
    codes(tmp_path, 'a.tif', samples, (TRANSFORM[0], 10.0, 0.0, TRANSFORM[3], 0.0, -10.0))
    scene = make_scene(tmp_path, label='a.tif')
    scenes, notes = make_label_rasters([scene], tmp_path / 'out', CODES, resampling='nearest')
    expected = np.kron(np.where(samples == 30, 255, samples // 10 - 1), np.ones((5, 5), int))
    np.testing.assert_array_equal(read_raster(scenes[0].label)[0], expected)
    assert notes == [f'{tmp_path}/a.tif: resampled to the grid of its scene (nearest)']


def test_fine_labels_by_the_mode_of_their_classes(tmp_path):
    samples = np.full((80, 100), 10, np.uint8)
    samples[::2, ::2] = 30  # unlabelled pixels do not count
    samples[:2, :2] = [[20, 20], [10, 20]]
    codes(tmp_path, 'a.tif', samples, (TRANSFORM[0], 1.0, 0.0, TRANSFORM[3], 0.0, -1.0))
    scenes, _ = make_label_rasters(
        [make_scene(tmp_path, label='a.tif')], tmp_path / 'out', CODES, resampling='mode'
    )
    label = read_raster(scenes[0].label)[0]
    assert label[0, 0] == 1
    assert (label == 0).sum() == label.size - 1


def test_labels_in_another_crs(tmp_path):
    samples = np.full((400, 500), 10, np.uint8)
    samples[100:, :] = 20
    transform = (TRANSFORM[0] - 100, 1.0, 0.0, TRANSFORM[3] + 100, 0.0, -1.0)
    codes(tmp_path, 'utm.tif', samples, transform)
    gdal.Warp(
        str(tmp_path / 'a.tif'), str(tmp_path / 'utm.tif'), dstSRS='EPSG:3857', xRes=0.5, yRes=0.5
    )
    scenes, _ = make_label_rasters(
        [make_scene(tmp_path, label='a.tif')], tmp_path / 'out', CODES, resampling='nearest'
    )
    assert (read_raster(scenes[0].label)[0] == 1).mean() > 0.95  # row 100 is the scene's first


def test_labels_of_other_scenes_are_refused(tmp_path):
    samples = np.full((40, 50), 10, np.uint8)
    codes(tmp_path, 'a.tif', samples, (TRANSFORM[0] + 60, *TRANSFORM[1:]))
    scene = make_scene(tmp_path, label='a.tif')
    with pytest.raises(DatasetError, match=r'a\.tif: it covers 41 % of .*expected at least 50 %'):
        make_label_rasters([scene], tmp_path / 'out', CODES, resampling='nearest')
    codes(tmp_path, 'a.tif', samples, (TRANSFORM[0] + 20, *TRANSFORM[1:]))
    scenes, notes = make_label_rasters([scene], tmp_path / 'out', CODES, resampling='nearest')
    assert 'it covers 80 % of' in notes[1]
    label = read_raster(scenes[0].label)[0]
    assert (label[:, :10] == 255).all()
    assert (label[:, 10:] == 0).all()


def test_unknown_codes_and_missing_georeferences(tmp_path):
    samples = np.full((40, 50), 10, np.uint8)
    samples[:20] = 95
    codes(tmp_path, 'a.tif', samples, TRANSFORM)
    scene = make_scene(tmp_path, label='a.tif')
    with pytest.raises(DatasetError, match=r'values 95 \(1000 pixels, 50 %\).*has 10, 20, 30. Add'):
        make_label_rasters([scene], tmp_path / 'out', CODES, resampling='nearest')
    write_raster(tmp_path / 'a.tif', samples)
    with pytest.raises(OSError, match=r'a\.tif: no geotransform or CRS, which a label on another'):
        make_label_rasters([scene], tmp_path / 'out', CODES, resampling='nearest')


def test_polygons_of_a_single_class_require_a_background(tmp_path):
    write(tmp_path / 'a.gpkg', [(square(0, 0, 10, 10), 'water', 0)])
    write(tmp_path / 'aoi.gpkg', [(square(0, 0, 50, 40), 'x', 0)])
    names = [str(make_scene(tmp_path).image), str(tmp_path / 'a.gpkg'), tmp_path / 'out']
    rules = dict(field='class', area_of_interest=str(tmp_path / 'aoi.gpkg'))
    settings = dict(bands=('red',), tile_size=8)
    with pytest.raises(DatasetError, match=r'fewer than two classes \(water\): .* --background'):
        init_data_root(*names, InitSettings(rules=PolygonRules(**rules), **settings))
    rules = PolygonRules(**rules, background='land')
    done = init_data_root(*names, InitSettings(rules=rules, **settings))
    assert done.description.classes == ('water', 'land')


def test_a_note_on_a_label_of_several_scenes_is_printed_once(tmp_path):
    scenes = [make_scene(tmp_path, name, 'a.tif') for name in 'ab']
    write_raster(tmp_path / 'a.tif', np.ones((1, 40, 50), np.uint8), georeference=REFERENCE)
    description = DatasetDescription(classes=('land', 'water'), label_convention='train_id')
    _, notes = make_label_rasters(scenes, tmp_path / 'out', description, resampling='nearest')
    assert notes == [f'{tmp_path}/a.tif: resampled to the grid of its scene (nearest)']


def test_tiles_are_not_larger_than_the_scenes(tmp_path):
    shapes = []
    for i, name in enumerate('abc'):
        left = 50 * i
        make_scene(tmp_path, name, transform=(TRANSFORM[0] + 2 * left, *TRANSFORM[1:]))
        shapes.append((square(left, 0, left + 30, 40), 'water', 0))
        shapes.append((square(left + 30, 0, left + 50, 40), 'forest', 0))
    write(tmp_path / 'a.gpkg', shapes)
    settings = InitSettings(bands=('red',), rules=PolygonRules('class'))
    names = [str(tmp_path / 'scenes/*.tif'), str(tmp_path / 'a.gpkg'), tmp_path / 'out']
    description = init_data_root(*names, settings).description
    assert description.tile_size == (40, 40)


def test_large_fine_labels_are_resampled_without_overviews(tmp_path, rng):
    samples = rng.choice(np.array([10, 20], np.uint8), (1600, 2000))
    codes(tmp_path, 'a.tif', samples, (TRANSFORM[0], 0.05, 0.0, TRANSFORM[3], 0.0, -0.05))
    scene = make_scene(tmp_path, label='a.tif')
    scenes, _ = make_label_rasters([scene], tmp_path / 'out', CODES, resampling='mode')
    label = read_raster(scenes[0].label)[0]
    twenty = (samples == 20).reshape(40, 40, 50, 40).sum((1, 3))
    decided = twenty != 800
    np.testing.assert_array_equal(label[decided], (twenty > 800)[decided])


def test_polygons_without_a_pixel_and_beyond_the_reference_system(tmp_path):
    shapes = [
        (square(0, 0, 25, 40), 'water', 0), (square(30.1, 5.1, 30.3, 5.3), 'forest', 0),
    ]  # fmt: skip
    write(tmp_path / 'a.gpkg', shapes)
    world = {
        'type': 'Polygon',
        'coordinates': [[[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]],
    }
    (tmp_path / 'world.geojson').write_text(json.dumps(world))
    label, notes = make_label(
        tmp_path, area_of_interest=str(tmp_path / 'world.geojson'), background='background'
    )
    assert (label[:, :25] == 1).all()
    assert (label[:, 25:] == 2).all()
    assert notes == [
        f'{tmp_path}/scenes/a.tif: 1 polygons of {tmp_path}/a.gpkg have no pixel, such as feature '
        '2: they contain no pixel centre (--all-touched), or others cover them'
    ]
