"""Prediction of scenes of several files."""

import numpy as np
import pytest
from mmengine.config import Config

from dnas_mmseg.datasets.gid5 import BANDS, CLASSES, PALETTE
from dnas_mmseg.mapping.scene import Tiling
from dnas_mmseg.mapping.scenes import SceneError, predict_scenes
from dnas_mmseg.mapping.segmentor import load_segmentor
from dnas_mmseg.raster import Raster, read_raster, write_raster

from ..raster.products import LANDSAT_L2, SAFE_L2A, place, uint16, write_landsat, write_safe
from .conftest import scenes

IMAGES = {'nir': 'B08', 'red': 'B04', 'green': 'B03', 'blue': 'B02'}
STEM = SAFE_L2A.removesuffix('.SAFE')


@pytest.fixture
def model(trained):
    return load_segmentor(Config.fromfile(str(trained[0])), trained[1], 'cpu')


@pytest.fixture
def safe(tmp_path, rng):
    """SAFE folder with another band than the model's, and the samples of the model's bands."""
    samples = {name: uint16(rng, 1, 60, 70, low=1000) for name in BANDS}
    images = {(IMAGES[name], 10): samples[name] for name in BANDS}
    images['B11', 20] = uint16(rng, 1, 30, 35)
    scl = rng.integers(4, 7, (1, 30, 35)).astype(np.uint8)
    scl[:, :10], scl[:, 10:12] = 3, 9
    folder = write_safe(tmp_path / 'in', images, scl=scl)
    return folder, np.concatenate([samples[name] for name in BANDS])


class Brightness:
    """Model whose class of a pixel is the band with the largest sample, or 4 below a limit."""

    num_bands, threshold, normalisation = 4, None, None

    def __init__(self, limit, **meta):
        self.limit = limit
        self.dataset_meta = dict(classes=CLASSES, palette=PALETTE, bands=BANDS, **meta)

    def logits(self, images):
        samples = np.stack([image.numpy() for image in images]).astype(np.float32)
        return np.concatenate([samples, np.full_like(samples[:, :1], self.limit)], 1)


@pytest.mark.parametrize('apply_scale', [False, True])
def test_a_map_shows_the_samples_of_the_bands(safe, tmp_path, apply_scale):
    folder, samples = safe
    # Of reflectance, or of stored samples.
    model = Brightness(0.55, apply_scale=True) if apply_scale else Brightness(6500.0)
    expected = np.where(samples.max(0) > 6500, samples.argmax(0), 4)
    ((path, notes),) = predict_scenes(model, [folder], tmp_path / 'out').items()
    assert path == tmp_path / f'out/{STEM}.tif'
    np.testing.assert_array_equal(read_raster(path)[0], expected)
    assert set(np.unique(expected)) == set(range(5))
    assert Raster(path).info.georeference == place(10.0)
    assert notes == [
        f'{folder}: Sentinel-2 L2A, bands nir, red, green, blue at 10 m; scale and offset 0.0001 '
        'and -0.1'
    ]
    assert Raster(tmp_path / f'out/scenes/{STEM}.vrt').info.names == BANDS


def test_masked_pixels_have_no_class(model, safe, tmp_path):
    folder, _ = safe
    (path,) = predict_scenes(
        model, [folder], tmp_path / 'out', tiling=Tiling(64, 16), mask_values=['3', 9]
    )
    np.testing.assert_array_equal((read_raster(path)[0] == 255)[:, 0], np.arange(60) < 24)


def test_maps_resume_and_overwrite_no_other_file(model, safe, tmp_path):
    folder, _ = safe
    out = tmp_path / 'out'
    (path,) = predict_scenes(model, [folder], out, tiling=Tiling(64, 16))
    written = path.stat().st_mtime_ns
    assert predict_scenes(model, [folder], out, tiling=Tiling(64, 16), resume=True) == {}
    assert path.stat().st_mtime_ns == written
    samples = read_raster(path)[0].astype(np.uint8)
    for band in BANDS:
        write_raster(tmp_path / f'bands/a_{band}.tif', samples)
    write_raster(tmp_path / 'bands/a.tif', samples)
    with pytest.raises(SceneError, match=r'a\.tif exists and does not belong to a map of .*a\.vrt'):
        predict_scenes(model, [tmp_path / 'bands/a_{band}.tif'], tmp_path / 'bands')


def test_a_pattern_is_several_scenes(model, tmp_path, rng):
    for name in 'ab':
        for band in BANDS:
            write_raster(tmp_path / f'in/{name}_{band}.tif', uint16(rng, 1, 20, 20))
    pattern = [tmp_path / 'in/{name}_{band}.tif']
    maps = [
        path.name
        for part in (1, 2)
        for path in predict_scenes(model, pattern, tmp_path / 'out', shard=(part, 2))
    ]
    assert maps == ['a.tif', 'b.tif']


def test_invalid_scenes_do_not_stop_the_others(model, safe, tmp_path, rng):
    landsat = write_landsat(tmp_path / 'landsat', {'SR_B4': uint16(rng, 1, 20, 20)}, mtl='')
    (tmp_path / 'empty').mkdir()
    names = [landsat, tmp_path / 'empty', tmp_path / 'x_{band}.tif', safe[0]]
    with pytest.raises(SceneError) as error:
        predict_scenes(model, names, tmp_path / 'out', tiling=Tiling(64, 16))
    assert list(error.value.notes) == [tmp_path / f'out/{STEM}.tif']
    head, *lines = str(error.value).splitlines()
    assert head.startswith('3 of 4 scenes are not mapped')
    assert [line.removeprefix(f'  - {tmp_path}/')[:26] for line in lines] == [
        'landsat: no band nir, gree', 'empty: a folder without sc', 'x_{band}.tif: no files mat',
    ]  # fmt: skip
    (plain,) = scenes(tmp_path, rng, 'plain', names=BANDS)
    with pytest.raises(SceneError, match=r'plain\.tif: mask values are set \(3\), but a single'):
        predict_scenes(model, [plain], tmp_path / 'out', mask_values=[3])


def test_bands_select_bands_of_a_product(model, safe, tmp_path):
    folder, samples = safe
    model.dataset_meta['bands'] = None
    (path,) = predict_scenes(
        model, [folder], tmp_path / 'out', bands=('8', 'B04', 'green', '02'), tiling=Tiling(64, 16)
    )
    stack = tmp_path / f'out/scenes/{STEM}.vrt'
    assert Raster(stack).info.names == BANDS
    np.testing.assert_array_equal(read_raster(stack), samples)
    assert read_raster(path).shape == (1, 60, 70)


def test_landsat_names_its_map(model, tmp_path, rng):
    images = {f'SR_B{i}': uint16(rng, 1, 20, 20) for i in (2, 3, 4, 5)}
    write_landsat(tmp_path / 'in', images, mtl='')
    (path,) = predict_scenes(model, [tmp_path / 'in'], tmp_path / 'out')
    assert path.name == f'{LANDSAT_L2}.tif'
