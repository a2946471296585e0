"""Landsat Collection 2 products."""

import tarfile

import numpy as np
import pytest

from dnas_mmseg.raster import Raster, RasterError, build_scene_vrt, detect_scene, read_raster

from .products import LANDSAT_L1, LANDSAT_L2, MTL_L2, uint16, write_landsat, write_planet


@pytest.fixture
def level_2(tmp_path, rng):
    images = {name: uint16(rng, 1, 9, 7) for name in ('SR_B4', 'SR_B5', 'ST_B10')}
    images['QA_PIXEL'] = np.full((1, 9, 7), 21824, np.uint16)
    images['SR_QA_AEROSOL'] = np.zeros((1, 9, 7), np.uint8)
    return write_landsat(tmp_path / 'landsat', images), images


def test_level_2_with_scale_and_offset_of_its_group(level_2, tmp_path):
    folder, images = level_2
    scene = detect_scene(folder)
    assert (scene.name, scene.product) == (LANDSAT_L2, 'Landsat 8 L2SP')
    path = build_scene_vrt(scene, tmp_path / 'run')
    with Raster(path) as raster:
        info = raster.info
    assert info.names == ('red', 'nir', 'lwir11')
    assert info.scaling == ((3e-05, -0.25), (2.75e-05, -0.2), (0.00341802, 149.0))
    assert (info.nodata, info.acquired) == ((0.0,) * 3, '2023-06-15 10:03:27')
    expected = np.concatenate([images[name] for name in ('SR_B4', 'SR_B5', 'ST_B10')])
    np.testing.assert_array_equal(read_raster(path), expected)


def test_tar_equals_folder(level_2, tmp_path):
    folder, _ = level_2
    with tarfile.open(tmp_path / 'a.tar', 'w') as archive:
        for file in folder.iterdir():
            archive.add(file, file.name)
    scenes = detect_scene(folder), detect_scene(tmp_path / 'a.tar')
    assert scenes[1].name == LANDSAT_L2
    paths = [build_scene_vrt(s, tmp_path / str(i)) for i, s in enumerate(scenes)]
    np.testing.assert_array_equal(read_raster(paths[0]), read_raster(paths[1]))
    assert Raster(paths[1]).info.scaling == Raster(paths[0]).info.scaling


def test_without_mtl_level_2_has_the_constants_of_the_collection(tmp_path, rng):
    images = {name: uint16(rng, 1, 4, 4) for name in ('SR_B4', 'ST_B10')}
    scene = detect_scene(write_landsat(tmp_path / 'a', images, mtl=''))
    scalings = [(s.scale, s.offset) for s in scene.bands.values()]
    assert scalings == [(0.0000275, -0.2), (0.00341802, 149.0)]
    images = {name: uint16(rng, 1, 4, 4) for name in ('B4', 'B10')}
    scene = detect_scene(write_landsat(tmp_path / 'b', images, LANDSAT_L1, mtl=''))
    path = build_scene_vrt(scene, tmp_path / 'run')
    assert Raster(path).info.scaling == ((1.0, 0.0), (1.0, 0.0))


def test_panchromatic_band_of_level_1(tmp_path):
    """30 m pixels reach 7.5 m beyond the panchromatic band, on which their centres lie."""
    coarse = (np.arange(20).reshape(1, 4, 5) * 100 + 100).astype(np.uint16)
    fine = np.arange(63).reshape(1, 7, 9).astype(np.uint16)
    scene = detect_scene(
        write_landsat(tmp_path / 'a', {'B4': coarse, 'B8': fine, 'B5': coarse + 7}, LANDSAT_L1)
    )
    assert (scene.product, list(scene.bands)) == ('Landsat 9 L1TP', ['red', 'nir', 'pan'])
    assert scene.bands['red'].scale == 2e-05
    path = build_scene_vrt(scene, tmp_path / 'run', bands=('pan', 'red'))
    samples = read_raster(path)
    assert samples.shape == (2, 7, 9)
    np.testing.assert_array_equal(samples[0], fine[0])
    np.testing.assert_array_equal(samples[1, 0], [100, 150, 200, 250, 300, 350, 400, 450, 500])
    np.testing.assert_array_equal(samples[1, :, 0], [100, 350, 600, 850, 1100, 1350, 1600])


def test_numbers_follow_the_sensor(tmp_path, rng):
    product = 'LE07_L1TP_192028_20020615_20200622_02_T1'
    images = {name: uint16(rng, 1, 4, 4) for name in ('B4', 'B1', 'B6_VCID_1', 'B6_VCID_2')}
    scene = detect_scene(write_landsat(tmp_path / 'a', images, product, mtl=''))
    assert list(scene.bands) == ['blue', 'nir', 'b6_vcid_1', 'b6_vcid_2']
    multispectral_scanner = product.replace('LE07', 'LM04')
    folder = write_landsat(tmp_path / 'b', {'B1': images['B1']}, multispectral_scanner, mtl='')
    assert detect_scene(folder) is None


def test_bits_of_qa_pixel_are_masked(tmp_path, rng):
    images = {name: uint16(rng, 1, 4, 5) for name in ('SR_B4', 'SR_B5')}
    quality = np.full((4, 5), 21824, np.uint16)  # clear
    quality[0, 0], quality[1, 1], quality[2, 2] = 22280, 23888, 1  # cloud, cloud shadow, fill
    folder = write_landsat(tmp_path / 'a', {**images, 'QA_PIXEL': quality[None]})
    scene = detect_scene(folder)
    for values, places in (
        (['bit3', 'bit4'], [(0, 0), (1, 1)]),
        (['bit0'], [(2, 2)]),
        (['bit3', 1], [(0, 0), (2, 2)]),
    ):
        path = build_scene_vrt(scene, tmp_path / 'run', mask_values=values)
        with Raster(path) as raster:
            assert raster.info.has_mask
            invalid = raster.samples().invalid
        assert [tuple(place) for place in np.argwhere(invalid)] == places


def test_invalid_products(level_2, tmp_path, rng):
    folder, images = level_2
    (folder / f'{LANDSAT_L2}_MTL.txt').write_text(MTL_L2.replace('3e-05', 'NaN?'))
    with pytest.raises(RasterError, match=r'MTL\.txt: REFLECTANCE_MULT_BAND_4 = NaN\?, .*numbers'):
        detect_scene(folder)
    write_landsat(folder, {'B4': images['SR_B4']}, LANDSAT_L1)
    with pytest.raises(RasterError, match=rf'2 products \({LANDSAT_L2}, {LANDSAT_L1}\)'):
        detect_scene(folder)


def test_landsat_precedes_planetscope_with_similar_names(level_2):
    folder, images = level_2
    write_planet(folder, np.repeat(images['SR_B4'], 4, 0), '3B_AnalyticMS_SR')
    assert detect_scene(folder).product == 'Landsat 8 L2SP'
