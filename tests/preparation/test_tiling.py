import numpy as np
import pytest

from dnas_mmseg.datasets import DatasetError
from dnas_mmseg.datasets.gid5 import BANDS, CLASSES, PALETTE
from dnas_mmseg.datasets.tiles import tile_windows
from dnas_mmseg.preparation.scenes import Scene
from dnas_mmseg.preparation.tiling import TileSpec, check_scene, cut_windows
from dnas_mmseg.raster import GeoReference, Raster, Window, read_raster, write_raster


def make_tiling(**changes):
    required = dict(classes=CLASSES, palette=PALETTE, bands=BANDS, label_convention='train_id')
    return TileSpec(**{**required, 'size': 32, 'stride': 32, **changes})


def write_scene(folder, rng, size=(48, 40), dtype='uint8', high=250, **kwargs):
    """Write a scene; return samples, train ids and scene."""
    samples = rng.integers(1, high, (4, *size)).astype(dtype)
    ids = rng.integers(0, 5, size).astype(np.uint8)
    write_raster(folder / 's.tif', samples, **kwargs)
    write_raster(folder / 's.png', ids)
    return samples, ids, Scene('s', folder / 's.tif', folder / 's.png')


def test_tile_has_samples_and_georeference_of_the_scene(tmp_path, rng):
    place = GeoReference(transform=(5e5, 4.0, 0.0, 3e6, 0.0, -4.0))
    samples, ids, scene = write_scene(tmp_path, rng, georeference=place)
    (tile,), unknown = cut_windows(scene, [Window(8, 16, 32, 32)], make_tiling(), tmp_path / 'out')
    assert tile.paths == ('images/s_16_8.tif', 'labels/s_16_8.png')
    assert not unknown
    part = samples[:, 16:48, 8:40]
    np.testing.assert_array_equal(read_raster(tmp_path / 'out' / tile.paths[0]), part)
    np.testing.assert_array_equal(
        read_raster(tmp_path / 'out' / tile.paths[1])[0], ids[16:48, 8:40]
    )
    info = Raster(tmp_path / 'out' / tile.paths[0]).info
    assert info.georeference.transform == (5e5 + 8 * 4, 4.0, 0.0, 3e6 - 16 * 4, 0.0, -4.0)
    assert info.names == BANDS
    assert tile.pixels == 32 * 32
    np.testing.assert_allclose(tile.totals, part.sum((1, 2), dtype=float))
    assert tile.class_pixels == list(np.bincount(ids[16:48, 8:40].ravel(), minlength=5))


def test_tile_is_padded_and_ignored_beyond_the_scene(tmp_path, rng):
    samples, _, scene = write_scene(tmp_path, rng, size=(20, 24))
    (tile,), _ = cut_windows(scene, tile_windows(20, 24, 32, 32), make_tiling(), tmp_path)
    image, label = (read_raster(tmp_path / path) for path in tile.paths)
    assert (tile.height, tile.width, tile.size) == (20, 24, 32)
    np.testing.assert_array_equal(image[:, :20, :24], samples)
    assert (image[:, 20:] == 0).all()
    assert (label[0, 20:] == 255).all()
    assert (label[0, :, 24:] == 255).all()


@pytest.mark.parametrize('nodata', [None, 0, 255, -9999])
@pytest.mark.parametrize('dtype', ['uint8', 'float32'])
def test_padding_is_invalid(tmp_path, rng, dtype, nodata):
    samples, _, scene = write_scene(tmp_path, rng, size=(20, 24), dtype=dtype, nodata=nodata)
    (tile,), _ = cut_windows(scene, tile_windows(20, 24, 32, 32), make_tiling(), tmp_path)
    with Raster(tmp_path / tile.paths[0]) as raster:
        stored, has_mask = raster.samples(), raster.info.has_mask
    expected = np.ones((32, 32), bool)
    expected[:20, :24] = False
    np.testing.assert_array_equal(stored.invalid, expected)
    np.testing.assert_array_equal(stored.values[:, :20, :24], samples)
    assert has_mask == (nodata is None or (dtype, nodata) == ('uint8', -9999))


def test_tiles_below_min_labelled_are_skipped(tmp_path, rng):
    _, ids, scene = write_scene(tmp_path, rng, size=(32, 64))
    ids[:, 32:] = 255
    ids[:4, 32:] = 1  # an eighth
    write_raster(scene.label, ids)
    windows = tile_windows(32, 64, 32, 32)
    for share, expected in ((0.0, 2), (0.125, 2), (0.13, 1)):
        tiles, _ = cut_windows(
            scene, windows, make_tiling(min_labelled=share), tmp_path / str(share)
        )
        assert len(tiles) == expected
    # Labels of invalid pixels are not counted.
    samples = read_raster(scene.image)
    samples[:, :2, 32:] = 0
    write_raster(scene.image, samples, nodata=0)
    assert len(cut_windows(scene, windows, make_tiling(min_labelled=0.125), tmp_path / 'x')[0]) == 1


def test_unknown_label_values_are_counted_and_ignored(tmp_path, rng):
    _, ids, scene = write_scene(tmp_path, rng, size=(32, 32))
    ids[3, :7] = 99
    write_raster(scene.label, ids)
    (tile,), unknown = cut_windows(scene, [Window(0, 0, 32, 32)], make_tiling(), tmp_path)
    assert unknown == {'99': 7}
    assert (read_raster(tmp_path / tile.paths[1])[0, 3, :7] == 255).all()


def test_16_bit_samples_are_scaled_on_request(tmp_path, rng):
    samples, _, scene = write_scene(tmp_path, rng, size=(32, 32), dtype='uint16', high=1200)
    window = [Window(0, 0, 32, 32)]
    (tile,), _ = cut_windows(scene, window, make_tiling(), tmp_path / 'a')
    stored = read_raster(tmp_path / 'a' / tile.paths[0])
    assert stored.dtype == np.uint16
    np.testing.assert_array_equal(stored, samples)
    (tile,), _ = cut_windows(scene, window, make_tiling(scale=(100, 1000)), tmp_path / 'b')
    stored = read_raster(tmp_path / 'b' / tile.paths[0])
    assert stored.dtype == np.uint8
    expected = ((samples.astype(float) - 100) / 900 * 255).clip(0, 255)
    assert np.abs(stored - expected).max() <= 0.5 + 1e-4


def test_valid_samples_do_not_become_nodata_by_scaling(tmp_path, rng):
    samples = rng.integers(50, 1200, (4, 32, 32)).astype(np.uint16)
    samples[:, :5] = 0
    write_raster(tmp_path / 's.tif', samples, nodata=0)
    write_raster(tmp_path / 's.png', np.zeros((32, 32), np.uint8))
    scene = Scene('s', tmp_path / 's.tif', tmp_path / 's.png')
    (tile,), _ = cut_windows(
        scene, [Window(0, 0, 32, 32)], make_tiling(scale=(100, 1000)), tmp_path
    )
    stored = read_raster(tmp_path / tile.paths[0])
    assert (stored[:, :5] == 0).all()
    assert (stored[:, 5:] > 0).all()
    assert tile.pixels == 27 * 32
    # Nor in a valid window of a scene with nodata.
    (tile,), _ = cut_windows(
        scene,
        [Window(0, 8, 24, 24)],
        make_tiling(size=24, stride=24, scale=(1100, 1200)),
        tmp_path / 'c',
    )
    assert read_raster(tmp_path / 'c' / tile.paths[0]).min() == 1


def test_invalid_scenes_raise(tmp_path, rng):
    _, ids, scene = write_scene(tmp_path, rng)
    with pytest.raises(DatasetError, match='4 bands, expected 3'):
        check_scene(scene, make_tiling(bands=BANDS[:3]))
    write_raster(scene.label, ids[:9])
    with pytest.raises(DatasetError, match=r's\.png: label of \(9, 40\) for a scene of \(48, 40\)'):
        check_scene(scene, make_tiling())
    write_scene(tmp_path, rng, names=BANDS[::-1])
    with pytest.raises(DatasetError, match='descriptions are blue, green, red, nir, expected'):
        check_scene(scene, make_tiling())
    write_raster(scene.label, np.zeros((3, 48, 40), np.uint8))
    with pytest.raises(DatasetError, match=r's\.png: the label has 3 bands'):
        cut_windows(scene, [Window(0, 0, 32, 32)], make_tiling(), tmp_path)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(size=0), 'expected 0 < stride <= size'),
        (dict(stride=0), 'expected 0 < stride <= size'),
        (dict(size=32, stride=64), 'expected 0 < stride <= size'),
        (dict(min_labelled=2.0), 'min_labelled = 2.0: expected a share'),
        (dict(scale=(9.0, 9.0)), 'expected two increasing values'),
        (dict(bands=()), 'the bands of the scenes are unknown'),
    ],
)
def test_invalid_parameters_raise(changes, message):
    with pytest.raises(DatasetError, match=message):
        make_tiling(**changes)
