import numpy as np
import pytest
from mmseg.registry import TRANSFORMS

from dnas_mmseg.raster import write_raster

BANDS = ('nir', 'red', 'green', 'blue')


@pytest.mark.parametrize('dtype', [np.uint8, np.int16, np.uint16, np.float32])
@pytest.mark.parametrize('bands', [BANDS, BANDS[:1], ('b1', 'b2', 'b3', 'b4', 'b5')])
def test_distortion_preserves_bands_and_type(rng, dtype, bands):
    distort = TRANSFORMS.build(dict(type='MultiBandPhotoMetricDistortion'))
    top = 255 if dtype == np.uint8 else 6000
    image = rng.integers(0, top, (16, 16, len(bands))).astype(dtype)
    changed = 0
    for _ in range(20):
        out = distort(dict(img=image.copy(), bands=bands))['img']
        assert (out.dtype, out.shape) == (image.dtype, image.shape)
        assert out.astype(float).max() <= (255 if dtype == np.uint8 else 20000)
        changed += not np.array_equal(out, image)
    assert changed > 10


def test_saturation_and_hue_change_rgb_only(rng):
    distort = TRANSFORMS.build(
        dict(type='MultiBandPhotoMetricDistortion', brightness=0, contrast=(1, 1))
    )
    image = rng.integers(0, 255, (16, 16, 4)).astype(np.uint8)
    seen = set()
    for _ in range(20):
        out = distort(dict(img=image.copy(), bands=BANDS))['img']
        np.testing.assert_array_equal(out[..., 0], image[..., 0])
        seen.add(np.array_equal(out[..., 1:], image[..., 1:]))
    assert seen == {True, False}


def test_no_change_if_nothing_is_sampled(rng, monkeypatch):
    monkeypatch.setattr(np.random, 'randint', lambda *_: 0)
    image = rng.integers(0, 60000, (8, 8, 4)).astype(np.uint16)
    distort = TRANSFORMS.build(dict(type='MultiBandPhotoMetricDistortion'))
    np.testing.assert_array_equal(distort(dict(img=image, bands=BANDS))['img'], image)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_invalid_pixels_do_not_change_the_distortion(tmp_path, rng, dtype):
    """They turn integer images to float32."""
    samples = rng.integers(1, 200, (4, 16, 16)).astype(dtype)
    if dtype == np.uint8:  # other types are distorted relative to the maximum of valid samples
        samples[:, 0, 0] = 255
    gap = samples.copy()
    gap[:, 0, 0] = 0
    write_raster(tmp_path / 'whole.tif', samples, names=BANDS)
    write_raster(tmp_path / 'gap.tif', gap, names=BANDS, nodata=0)
    load = TRANSFORMS.build(dict(type='LoadRasterFromFile'))
    distort = TRANSFORMS.build(dict(type='MultiBandPhotoMetricDistortion'))
    for seed in range(40):
        images = []
        for name in ('whole', 'gap'):
            np.random.seed(seed)
            images.append(distort(load(dict(img_path=str(tmp_path / f'{name}.tif'))))['img'])
        whole, image = images
        assert (whole.dtype, image.dtype) == (dtype, np.float32)
        assert np.isnan(image[0, 0]).all()
        valid = np.isfinite(image)
        assert valid.sum() == image.size - 4
        np.testing.assert_allclose(image[valid], whole[valid], rtol=1e-5, atol=1e-3)


def test_rotated_integers_are_clipped_to_their_type(rng):
    image = rng.integers(0, 255, (16, 16, 4)).astype(np.uint8)
    rotate = TRANSFORMS.build(dict(type='MultiBandRandomRotate', prob=1.0))
    distort = TRANSFORMS.build(dict(type='MultiBandPhotoMetricDistortion'))
    for _ in range(20):
        results = dict(img=image, bands=BANDS, sample_dtype=image.dtype)
        out = distort(rotate(results))['img']
        assert out.dtype == np.float32
        assert np.nanmin(out) >= 0
        assert np.nanmax(out) <= 255
