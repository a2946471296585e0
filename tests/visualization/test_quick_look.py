import numpy as np
import pytest
from PIL import Image

from dnas_mmseg.classes import ClassScheme
from dnas_mmseg.datasets.gid5 import CLASSES, PALETTE
from dnas_mmseg.raster import write_raster
from dnas_mmseg.visualization import save_quick_look


@pytest.fixture
def quick_look(tmp_path, rng):
    """A scene of 300 x 200 pixels of noise, 0 in its left half, next to a map of water."""
    samples = rng.integers(1, 250, (4, 300, 200)).astype(np.uint8)
    samples[:, :, :100] = 0
    ids = np.full((300, 200), 4, np.uint8)

    def draw(nodata=None, **options):
        write_raster(tmp_path / 's.tif', samples)
        write_raster(tmp_path / 'm.tif', ids)
        save_quick_look(
            tmp_path / 'q.png', tmp_path / 's.tif', tmp_path / 'm.tif',
            bands=('nir', 'red', 'green', 'blue'), nodata=nodata,
            classes=ClassScheme(CLASSES, PALETTE), **options,
        )  # fmt: skip
        return np.array(Image.open(tmp_path / 'q.png').convert('RGB')).astype(int)

    return draw


def shares(picture):
    """Shares of black and of the colour of water."""
    return (picture == 0).all(2).mean(), (picture == PALETTE[4]).all(2).mean()


def test_scene_and_map_are_side_by_side_with_white_gaps(quick_look):
    black, blue = shares(quick_look(side=300))
    assert blue == pytest.approx(2 * black, rel=0.2)
    assert black > 0.05
    black, still = shares(quick_look(nodata=0, side=300))
    assert black < 0.01
    assert still == pytest.approx(blue)


def test_a_large_scene_is_downsampled(quick_look):
    small, large = quick_look(side=400), quick_look(side=900)
    assert large.shape[0] > 1.7 * small.shape[0]


@pytest.mark.parametrize('shape', [(64, 5120), (5120, 64), (1, 300), (1024, 1)])
def test_the_longer_side_of_a_strip_is_bounded(tmp_path, rng, shape):
    write_raster(tmp_path / 's.tif', rng.integers(1, 250, (4, *shape)).astype(np.uint8))
    write_raster(tmp_path / 'm.tif', np.full(shape, 4, np.uint8))
    save_quick_look(
        tmp_path / 'q.png', tmp_path / 's.tif', tmp_path / 'm.tif',
        bands=('nir', 'red', 'green', 'blue'), classes=ClassScheme(CLASSES, PALETTE), side=500,
    )  # fmt: skip
    picture = np.array(Image.open(tmp_path / 'q.png').convert('RGB')).astype(int)
    height, width = picture.shape[:2]
    assert height < 650  # with heading and legend
    assert 7 * 110 < width < 2 * 550  # not narrower than the legend
    rows, columns = np.nonzero((picture[: -height // 4] == PALETTE[4]).all(2))
    longer = np.ptp(rows if shape[0] > shape[1] else columns)
    assert 0.6 * 500 < longer <= 500
