"""Sentinel-2 SAFE folders."""

import shutil

import numpy as np
import pytest

from dnas_mmseg.raster import Raster, RasterError, build_scene_vrt, detect_scene, read_raster

from .products import SAFE_L1C, SAFE_L2A, doubled, uint16, write_safe


@pytest.fixture
def images(rng):
    return {
        ('B02', 10): uint16(rng, 1, 24, 36),
        ('B02', 20): uint16(rng, 1, 12, 18),
        ('B04', 10): uint16(rng, 1, 24, 36),
        ('B8A', 20): uint16(rng, 1, 12, 18),
        ('B8A', 60): uint16(rng, 1, 4, 6),
        ('B01', 60): uint16(rng, 1, 4, 6),
    }


def test_level_2a_at_the_finest_resolution(tmp_path, images, rng):
    safe = write_safe(tmp_path, images, scl=rng.integers(0, 12, (1, 12, 18)).astype(np.uint8))
    scene = detect_scene(safe)
    assert (scene.name, scene.product, scene.sensor) == (
        SAFE_L2A.removesuffix('.SAFE'), 'Sentinel-2 L2A', 'Sentinel-2',
    )  # fmt: skip
    assert list(scene.bands) == ['coastal', 'blue', 'red', 'nir08']
    assert [scene.bands[name].path.rpartition('_')[2] for name in scene.bands] == [
        '60m.jp2', '10m.jp2', '10m.jp2', '20m.jp2',
    ]  # fmt: skip
    assert scene.quality.source.path.endswith('R20m/T32TQM_20230615T103629_SCL_20m.jp2')
    path = build_scene_vrt(scene, tmp_path / 'run', resampling='nearest')
    assert path == tmp_path / f'run/{scene.name}.vrt'
    with Raster(path) as raster:
        info = raster.info
    assert (info.names, info.shape) == (('coastal', 'blue', 'red', 'nir08'), (24, 36))
    assert info.georeference.transform == (699960, 10, 0, 5000040, 0, -10)
    assert (info.dtypes, info.nodata) == (('uint16',) * 4, (0.0,) * 4)
    assert info.acquired == '2023-06-15 10:36:29'
    samples = read_raster(path)
    np.testing.assert_array_equal(samples[0], doubled(images['B01', 60][0], 6))
    np.testing.assert_array_equal(samples[1], images['B02', 10][0])
    np.testing.assert_array_equal(samples[2], images['B04', 10][0])
    np.testing.assert_array_equal(samples[3], doubled(images['B8A', 20][0]))


def test_the_grid_is_that_of_the_requested_bands(tmp_path, images):
    scene = detect_scene(write_safe(tmp_path, images))
    path = build_scene_vrt(scene, tmp_path / 'run', bands=('B8A', '01'), resampling='nearest')
    with Raster(path) as raster:
        assert (raster.info.names, raster.info.shape) == (('nir08', 'coastal'), (12, 18))
    np.testing.assert_array_equal(read_raster(path)[0], images['B8A', 20][0])


@pytest.mark.parametrize('level', ['L1C', 'L2A'])
def test_scale_and_offset_convert_to_reflectance(tmp_path, rng, level):
    samples = {(b, 20): uint16(rng, 1, 8, 8, low=1000) for b in ('B05', 'B8A')}
    scene = detect_scene(write_safe(tmp_path, samples, level))
    assert scene.product == f'Sentinel-2 {level}'
    path = build_scene_vrt(scene, tmp_path / 'run')
    with Raster(path, apply_scale=True) as raster:
        assert raster.info.scaling == ((0.0001, -0.1), (0.0001, -0.11))
        values = raster.samples().values
    expected = (samples['B05', 20][0] - 1000.0) / 10000
    np.testing.assert_allclose(values[0], expected, atol=1e-6)
    np.testing.assert_allclose(values[1], (samples['B8A', 20][0] - 1100.0) / 10000, atol=1e-6)


def test_before_baseline_04_there_is_no_offset(tmp_path, images):
    scene = detect_scene(write_safe(tmp_path, images, offsets=False))
    assert {(s.scale, s.offset) for s in scene.bands.values()} == {(0.0001, 0.0)}


@pytest.mark.parametrize('inner', [True, False])
def test_zip_equals_folder(tmp_path, images, inner):
    safe = write_safe(tmp_path, images)
    whole = read_raster(build_scene_vrt(detect_scene(safe), tmp_path / 'folder'))
    where = dict(root_dir=tmp_path, base_dir=SAFE_L2A) if inner else dict(root_dir=safe)
    archive = shutil.make_archive(str(tmp_path / f'{safe.name}'), 'zip', **where)
    shutil.rmtree(safe)
    scene = detect_scene(archive)
    assert scene.name == SAFE_L2A.removesuffix('.SAFE')
    np.testing.assert_array_equal(read_raster(build_scene_vrt(scene, tmp_path / 'zip')), whole)


def test_a_name_that_is_no_archive_is_no_product(tmp_path):
    (tmp_path / 'a.txt').touch()
    (tmp_path / 'empty').mkdir()
    for name in ('a.txt', 'empty', 'nowhere.zip'):
        assert detect_scene(tmp_path / name) is None
    assert detect_scene('NETCDF:"x.nc":B1') is None


def test_incomplete_and_damaged_products(tmp_path, images):
    safe = write_safe(tmp_path, images)
    metadata = safe / 'MTD_MSIL2A.xml'
    text = metadata.read_text()
    for content, message in (
        (text[:200], r'MTD_MSIL2A\.xml: not valid XML \(.*\); download the product again'),
        (text.replace('BOA_QUANTIFICATION', 'X'), 'no valid quantification value and offsets'),
        (text.replace('-1100', 'many'), 'no valid quantification value and offsets .*many'),
        (text.replace('>10000<', '>0<'), 'quantification value 0, expected a positive number'),
    ):
        metadata.write_text(content)
        with pytest.raises(RasterError, match=message) as error:
            detect_scene(safe)
        assert '\n' not in str(error.value)
    metadata.unlink()
    with pytest.raises(RasterError, match=r'\.SAFE: a SAFE folder without MTD_MSIL1C\.xml or'):
        detect_scene(safe)
    metadata.write_text(text)
    shutil.copytree(next(safe.glob('GRANULE/*')), safe / 'GRANULE/L2A_T32TQN_A032769')
    with pytest.raises(RasterError, match=r'2 products \(GRANULE/L2A_T32TQM.*, GRANULE/L2A_T32TQN'):
        detect_scene(safe)
    shutil.rmtree(safe / 'GRANULE')
    with pytest.raises(RasterError, match=r'no images in GRANULE/\*/IMG_DATA, expected \*_B02'):
        detect_scene(safe)


def test_archives_that_cannot_be_read(tmp_path):
    (tmp_path / 'a.zip').write_bytes(b'no archive')
    with pytest.raises(RasterError, match=r'a\.zip: the archive cannot be read'):
        detect_scene(tmp_path / 'a.zip')
    (tmp_path / 'a.tar.gz').touch()
    with pytest.raises(RasterError, match=r'a\.tar\.gz: a compressed archive'):
        detect_scene(tmp_path / 'a.tar.gz')


def test_a_band_that_the_product_lacks(tmp_path, images):
    scene = detect_scene(write_safe(tmp_path, {('B02', 10): images['B02', 10]}, 'L1C'))
    with pytest.raises(
        RasterError, match=rf'{SAFE_L1C}: no band red, cirrus; the bands are blue \('
    ):
        build_scene_vrt(scene, tmp_path, bands=('blue', 'red', 'cirrus'))
    with pytest.raises(RasterError, match='band blue is requested twice'):
        build_scene_vrt(scene, tmp_path, bands=('blue', 'B02'))
