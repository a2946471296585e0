"""VRTs of scenes of several files."""

from pathlib import Path

import numpy as np
import pytest
from osgeo import gdal

from dnas_mmseg.raster import (
    BandSource,
    GeoReference,
    MultiFileScene,
    QualityBand,
    Raster,
    RasterError,
    SceneStack,
    Window,
    build_scene_vrt,
    read_raster,
    source_files,
    write_raster,
)

from .products import doubled, place, uint16


def scene_of(folder, files, nodata=None, quality=None):
    """Write bands, and return their scene.

    Args:
        files: Samples, side of a pixel (None without georeference) and arguments of ``place`` by
            name.
        quality: Name of the quality band.
    """
    for name, (samples, pixel, options) in files.items():
        where = place(pixel, **options) if pixel else GeoReference()
        write_raster(folder / f'{name}.tif', samples, georeference=where)
    bands = {name: BandSource(str(folder / f'{name}.tif')) for name in files}
    band = QualityBand('Q', bands.pop(quality)) if quality else None
    return MultiFileScene('s', 's.SAFE', 'test', bands, nodata=nodata, quality=band)


def test_bilinear_weights(tmp_path):
    coarse = np.array([[[100, 200], [300, 600]]], np.uint16)
    fine = np.zeros((1, 4, 4), np.uint16)
    scene = scene_of(tmp_path, {'fine': (fine, 10.0, {}), 'coarse': (coarse, 20.0, {})})
    path = build_scene_vrt(scene, tmp_path / 'run')
    expected = [
        [100, 125, 175, 200],
        [150, 188, 262, 300],
        [250, 312, 438, 500],
        [300, 375, 525, 600],
    ]
    # Halves are rounded up or down.
    np.testing.assert_allclose(read_raster(path)[1], expected, atol=1)
    assert read_raster(path)[1, 0].tolist() == expected[0]
    nearest = build_scene_vrt(scene, tmp_path / 'run', resampling='nearest')
    np.testing.assert_array_equal(read_raster(nearest)[1], doubled(coarse[0]))


@pytest.mark.parametrize('resampling', ['nearest', 'bilinear', 'cubic'])
@pytest.mark.parametrize('times', [2, 6])
def test_windows_equal_the_whole(tmp_path, rng, resampling, times):
    shape = 600 // times, 300 // times
    scene = scene_of(
        tmp_path,
        {
            'fine': (uint16(rng, 1, 600, 300), 10.0, {}),
            'coarse': (uint16(rng, 1, *shape, low=0), 10.0 * times, {}),
        },
        nodata=0,
    )
    path = build_scene_vrt(scene, tmp_path / 'run', resampling=resampling)
    whole = read_raster(path)
    with Raster(path) as raster:
        for x, y, width, height in (
            (1, 1, 64, 64),
            (100, 33, 199, 129),
            (3, 7, 5, 5),
            (0, 590, 300, 10),
        ):
            part = raster.read(Window(x, y, width, height))
            np.testing.assert_array_equal(part, whole[:, y : y + height, x : x + width])


@pytest.mark.parametrize('resampling', ['bilinear', 'cubic'])
def test_nodata_is_not_mixed_into_samples(tmp_path, resampling):
    coarse = np.full((1, 8, 8), 5000, np.uint16)
    coarse[:, :, :3] = 0
    fine = doubled(coarse[0])[None]
    scene = scene_of(tmp_path, {'f': (fine, 10.0, {}), 'c': (coarse, 20.0, {})}, nodata=0)
    path = build_scene_vrt(scene, tmp_path / 'run', resampling=resampling)
    assert set(np.unique(read_raster(path)[1])) == {0, 5000}
    with Raster(path) as raster:
        assert raster.samples().invalid[:, :5].all()
        assert not raster.samples().invalid[:, 6:].any()
    assert set(source_files(path)) == {
        path, tmp_path / 'f.tif', tmp_path / 'c.tif', tmp_path / 'run/bands/s_c.vrt',
    }  # fmt: skip


def test_mask_has_the_nearest_value_of_the_quality_band(tmp_path, rng):
    quality = rng.integers(0, 12, (1, 300, 260)).astype(np.uint8)
    files = {'red': (uint16(rng, 1, 600, 520), 10.0, {}), 'Q': (quality, 20.0, {})}
    scene = scene_of(tmp_path, files, quality='Q')
    path = build_scene_vrt(scene, tmp_path / 'run', mask_values=[3, 8, '11'])
    expected = doubled(np.isin(quality[0], (3, 8, 11)))
    with Raster(path) as raster:
        assert raster.info.has_mask
        np.testing.assert_array_equal(raster.samples().invalid, expected)
        part = raster.samples(Window(101, 500, 33, 77)).invalid
    np.testing.assert_array_equal(part, expected[500:577, 101:134])
    mask = read_raster(tmp_path / 'run/s_mask.tif')
    assert (mask.dtype, set(np.unique(mask))) == (np.uint8, {0, 255})
    assert Raster(tmp_path / 'run/s_mask.tif').info.georeference == Raster(path).info.georeference
    text = Path(path).read_text()
    build_scene_vrt(scene, tmp_path / 'run', mask_values=[3, 8])
    assert Path(path).read_text() != text  # other samples
    # Without mask values, a mask of before is not used.
    assert not Raster(build_scene_vrt(scene, tmp_path / 'run')).info.has_mask


def test_description(tmp_path, rng):
    files = {
        'red': (uint16(rng, 1, 8, 8), 10.0, {}),
        'swir16': (uint16(rng, 1, 4, 4), 20.0, {}),
        'Q': (np.zeros((1, 4, 4), np.uint8), 20.0, {}),
    }
    scene = scene_of(tmp_path, files, quality='Q')
    stack = SceneStack.plan(scene, mask_values=[3])
    assert stack.describe() == (
        's.SAFE: test, bands red, swir16 at 10 m; swir16 resampled from 20 m (bilinear); masked '
        'where Q is 3'
    )
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(
    ('pixel', 'shape', 'options', 'message'),
    [
        (10.0, (8, 8), {'epsg': 32633}, 'it is in EPSG:32633, not in EPSG:32632 as .*a.tif'),
        (
            10.0,
            (8, 8),
            {'corner': (700000.0, 5000040.0)},
            'columns 4.0 to 12.0 and rows 0.0 to 8.0',
        ),
        (10.0, (8, 7), {}, 'columns 0.0 to 7.0 and rows 0.0 to 8.0 of the 8 columns and 8 rows of'),
        (20.0, (6, 6), {}, 'it covers columns 0.0 to 12.0 and rows 0.0 to 12.0'),
        (-10.0, (8, 8), {}, 'rotated or mirrored'),
        (None, (8, 8), {}, '8 x 8 pixels without the georeference that relates them to the 8 x 8'),
    ],
)
def test_files_of_different_grids(tmp_path, rng, pixel, shape, options, message):
    files = {'a': (uint16(rng, 1, 8, 8), 10.0, {}), 'b': (uint16(rng, 1, *shape), pixel, options)}
    scene = scene_of(tmp_path, files)
    with pytest.raises(RasterError, match=message) as error:
        build_scene_vrt(scene, tmp_path / 'run')
    assert '\n' not in str(error.value)
    assert 'expected files of one grid' in str(error.value)
    assert not (tmp_path / 'run').exists()


def test_files_without_georeference_need_one_size(tmp_path, rng):
    files = {'a': (uint16(rng, 1, 8, 8), None, {}), 'b': (uint16(rng, 1, 8, 8), None, {})}
    path = build_scene_vrt(scene_of(tmp_path, files), tmp_path / 'run')
    np.testing.assert_array_equal(read_raster(path), np.concatenate([files[n][0] for n in 'ab']))
    files['b'] = uint16(rng, 1, 4, 4), None, {}
    with pytest.raises(RasterError, match=r'b\.tif: 4 x 4 pixels without the georeference'):
        build_scene_vrt(scene_of(tmp_path, files), tmp_path / 'run')


def test_bands_of_different_types(tmp_path, rng):
    floats = rng.random((1, 8, 8)).astype(np.float32)
    files = {'a': (uint16(rng, 1, 8, 8), 10.0, {}), 'b': (floats, 10.0, {})}
    path = build_scene_vrt(scene_of(tmp_path, files), tmp_path / 'run')
    assert Raster(path).info.dtypes == ('uint16', 'float32')
    np.testing.assert_array_equal(read_raster(path)[1], floats[0])


def test_files_of_other_origin_are_not_overwritten(tmp_path, rng):
    files = {
        'red': (uint16(rng, 1, 8, 8), 10.0, {}),
        'Q': (np.zeros((1, 8, 8), np.uint8), 10.0, {}),
    }
    scene = scene_of(tmp_path, files, quality='Q')
    (tmp_path / 'run').mkdir()
    gdal.Translate(str(tmp_path / 'run/s.vrt'), str(tmp_path / 'red.tif'), format='VRT')
    with pytest.raises(RasterError, match=r's\.vrt exists and is not the file of a scene'):
        build_scene_vrt(scene, tmp_path / 'run')
    (tmp_path / 'run/s.vrt').unlink()
    write_raster(tmp_path / 'run/s_mask.tif', np.zeros((1, 8, 8), np.uint8))
    with pytest.raises(RasterError, match=r's_mask\.tif exists and is not the file of a scene'):
        build_scene_vrt(scene, tmp_path / 'run', mask_values=[3])
    (tmp_path / 'run/s_mask.tif').unlink()
    for _ in range(2):  # its own files are replaced
        build_scene_vrt(scene, tmp_path / 'run', mask_values=[3])
    assert sorted(p.name for p in (tmp_path / 'run').iterdir()) == ['s.vrt', 's_mask.tif']


def test_settings_that_do_not_apply(tmp_path, rng):
    scene = scene_of(tmp_path, {'red': (uint16(rng, 1, 8, 8), 10.0, {})})
    for settings, message in (
        (dict(resampling='lanczos'), "resampling 'lanczos': expected nearest, bilinear, cubic"),
        (dict(mask_values=[3]), r's\.SAFE: mask values 3 are set, but the scene has no quality'),
        (dict(mask_values=['3x']), "mask value '3x'"),
        (dict(bands=['nir']), r's\.SAFE: no band nir; the bands are red \(test\)'),
    ):
        with pytest.raises(RasterError, match=message):
            build_scene_vrt(scene, tmp_path / 'run', **settings)
    missing = MultiFileScene('s', 's', 'test', {'red': BandSource(str(tmp_path / 'red.tif'), 2)})
    with pytest.raises(RasterError, match=r'red\.tif: 1 bands, expected at least 2'):
        build_scene_vrt(missing, tmp_path / 'run')


def test_samples_tagged_as_cmyk(tmp_path, rng):
    gdal.GetDriverByName('GTiff').Create(
        str(tmp_path / 'c.tif'), 8, 8, 4, gdal.GDT_Byte, options=['PHOTOMETRIC=CMYK']
    )
    scene = MultiFileScene('s', 's', 'test', {'red': BandSource(str(tmp_path / 'c.tif'), 2)})
    with pytest.raises(RasterError, match=r'c\.tif: tagged as CMYK'):
        build_scene_vrt(scene, tmp_path / 'run')


def test_a_damaged_quality_band(tmp_path, rng):
    files = {'red': (uint16(rng, 1, 64, 64), 10.0, {}), 'Q': (uint16(rng, 1, 64, 64), 10.0, {})}
    scene = scene_of(tmp_path, files, quality='Q')
    whole = (tmp_path / 'Q.tif').read_bytes()
    (tmp_path / 'Q.tif').write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RasterError, match=r's\.SAFE: the quality band cannot be read at row 0'):
        build_scene_vrt(scene, tmp_path / 'run', mask_values=[3])
    assert not list((tmp_path / 'run').iterdir())
