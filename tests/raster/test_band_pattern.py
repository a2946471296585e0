"""Patterns of one file per band."""

import numpy as np
import pytest

from dnas_mmseg.raster import (
    Raster,
    RasterError,
    build_scene_vrt,
    pattern_scenes,
    read_raster,
    write_raster,
)

from .products import place, uint16


def write(folder, rng, *names, bands=1, **kwargs):
    result = {}
    for name in names:
        result[name] = uint16(rng, bands, 6, 5)
        write_raster(folder / name, result[name], georeference=place(10.0), **kwargs)
    return result


def test_names_and_numbers(tmp_path, rng):
    written = write(tmp_path, rng, 'a_NIR.tif', 'a_Red.tif', 'b_B8A.tif', 'b_B04.tif')
    first, second = pattern_scenes(tmp_path / '{name}_{band}.tif')
    assert (first.name, dict(first.bands).keys(), first.sensor) == ('a', {'nir', 'red'}, '')
    assert (second.name, set(second.bands), second.sensor) == ('b', {'nir08', 'red'}, 'Sentinel-2')
    assert (first.source, first.product) == (str(tmp_path / 'a_{band}.tif'), 'one file per band')
    path = build_scene_vrt(first, tmp_path / 'run', bands=('red', 'nir'))
    assert Raster(path).info.names == ('red', 'nir')
    expected = np.concatenate([written['a_Red.tif'], written['a_NIR.tif']])
    np.testing.assert_array_equal(read_raster(path), expected)


def test_wildcards_and_names(tmp_path, rng):
    write(
        tmp_path, rng, 'x/s1/red.tif', 'x/s1/nir.tif', 'y/s2/red.tif', 'y/s2/nir.tif',
        'y/s2/notes_old.tiff',
    )  # fmt: skip
    for pattern in ('*/*/{band}.tif', '**/{band}.tif', '?/{name}/{band}.tif', '[xy]/s*/{band}.tif'):
        scenes = pattern_scenes(tmp_path / pattern)
        assert [scene.name for scene in scenes] == ['s1', 's2'], pattern
        assert [set(scene.bands) for scene in scenes] == [{'red', 'nir'}] * 2
    write(tmp_path, rng, 'z/a_1_red.tif', 'z/a_1_nir.tif', 'z/a_2_red.tif')
    for pattern in ('z/a_*_{band}.tif', 'z/{name}_{band}.tif', 'z/*_{band}.*'):
        scenes = pattern_scenes(tmp_path / pattern)
        assert [scene.name for scene in scenes] == ['a_1', 'a_2'], pattern
        assert [len(scene.bands) for scene in scenes] == [2, 1]


def test_numbers_need_a_sensor(tmp_path, rng):
    write(tmp_path, rng, 's_01.tif', 's_4.tif', 'LC08_x_B4.tif', 'S2A_x_4.tif')
    (plain,) = pattern_scenes(tmp_path / 's_{band}.tif')
    assert (set(plain.bands), plain.sensor) == ({'b1', 'b4'}, '')
    (landsat,) = pattern_scenes(tmp_path / 'LC08_x_{band}.tif')
    (sentinel,) = pattern_scenes(tmp_path / 'S2A_x_{band}.tif')
    assert (set(landsat.bands), set(sentinel.bands)) == ({'red'}, {'red'})
    path = build_scene_vrt(plain, tmp_path / 'run', bands=['4', '1'])
    assert Raster(path).info.names == ('b4', 'b1')
    with pytest.raises(
        RasterError,
        match=r's_\{band\}\.tif: no band red; the bands are b1, b4 \(one file per band\); B1, B4: '
        'a number means different bands on Sentinel-2, Landsat 4-7 and Landsat 8-9, and '
        'the sensor is unknown',
    ):
        build_scene_vrt(plain, tmp_path / 'run', bands=['red'])


def test_nodata_scale_and_masks_of_the_files(tmp_path, rng):
    valid = np.ones((6, 5), bool)
    valid[1, 2] = False
    write(tmp_path, rng, 'a_red.tif', nodata=7)
    write(tmp_path, rng, 'a_nir.tif', valid=valid)
    (scene,) = pattern_scenes(tmp_path / 'a_{band}.tif')
    path = build_scene_vrt(scene, tmp_path / 'run', bands=('red', 'nir'))
    with Raster(path) as raster:
        assert (raster.info.nodata, raster.info.has_mask) == ((7.0, None), True)
        np.testing.assert_array_equal(raster.samples().invalid, ~valid)


def test_invalid_patterns(tmp_path, rng):
    with pytest.raises(RasterError, match=r'a_\{band\}\.tif: no files match; expected one file'):
        pattern_scenes(tmp_path / 'a_{band}.tif')
    with pytest.raises(RasterError, match=r'expected \{band\} once'):
        pattern_scenes(tmp_path / '{band}_{band}.tif')
    write(tmp_path, rng, 'a_red.tif', 'a_B4.tif', 'LC08_B4.tif', 'LC08_red.tif')
    with pytest.raises(RasterError, match=r'two files of the band red \(.*LC08_B4.*, .*LC08_red'):
        pattern_scenes(tmp_path / 'LC08_{band}.tif')
    write(tmp_path, rng, 'three_red.tif', bands=3)
    with pytest.raises(RasterError, match=r'three_red\.tif: 3 bands, expected one file per band'):
        pattern_scenes(tmp_path / 'three_{band}.tif')
    (tmp_path / 'text_red.tif').write_text('text')
    with pytest.raises(RasterError, match=r'text_red\.tif: not a raster'):
        pattern_scenes(tmp_path / 'text_{band}.tif')
