import numpy as np
import pytest
from mmcv.transforms import Compose
from mmseg.registry import TRANSFORMS

from dnas_mmseg.datasets import LabelEncoding, LabelError
from dnas_mmseg.raster import write_raster

BANDS = ('nir', 'red', 'green', 'blue')


def load(path, **results):
    return TRANSFORMS.build(dict(type='LoadRasterFromFile'))(dict(img_path=str(path), **results))


@pytest.mark.parametrize('dtype', ['uint8', 'int16', 'uint16', 'float32'])
def test_images_are_loaded_as_stored(tmp_path, rng, dtype):
    samples = rng.integers(0, 250, (5, 12, 17)).astype(dtype)
    write_raster(tmp_path / 'a.tif', samples, names=('a', 'b', 'c', 'd', 'e'))
    results = load(tmp_path / 'a.tif')
    assert results['img'].dtype == samples.dtype
    np.testing.assert_array_equal(results['img'], samples.transpose(1, 2, 0))
    assert results['ori_shape'] == results['img_shape'] == (12, 17)
    assert results['bands'] == ('a', 'b', 'c', 'd', 'e')
    assert load(tmp_path / 'a.tif', bands=('v', 'w', 'x', 'y', 'z'))['bands'][0] == 'v'


def test_nodata_is_ignored_in_the_label(tmp_path, rng):
    samples = rng.integers(1, 250, (4, 8, 8)).astype(np.uint8)
    samples[:, :3] = 0
    samples[0, 5] = 0  # one band alone: data
    write_raster(tmp_path / 'a.tif', samples, nodata=0)
    write_raster(tmp_path / 'a.png', np.full((8, 8), 2, np.uint8))
    results = load(
        tmp_path / 'a.tif',
        seg_map_path=str(tmp_path / 'a.png'),
        label_encoding=LabelEncoding('train_id', 5),
    )
    results = TRANSFORMS.build(dict(type='LoadRasterAnnotations'))(results)
    expected = np.full((8, 8), 2)
    expected[:3] = 255
    np.testing.assert_array_equal(results['gt_seg_map'], expected)
    stored = samples.transpose(1, 2, 0).astype(np.float32)
    assert np.isnan(results['img'][:3]).all()
    np.testing.assert_array_equal(results['img'][3:], stored[3:])


def test_missing_float_samples_become_nan(tmp_path):
    samples = np.ones((2, 4, 4), np.float32)
    samples[:, 0, 0] = -9999
    write_raster(tmp_path / 'a.tif', samples, nodata=-9999)
    image = load(tmp_path / 'a.tif')['img']
    assert np.isnan(image[0, 0]).all()
    assert not np.isnan(image[1:]).any()


def test_labels_that_do_not_fit_name_the_file(tmp_path):
    transform = TRANSFORMS.build(dict(type='LoadRasterAnnotations'))
    write_raster(tmp_path / 'l.png', np.full((4, 4), 7, np.uint8))
    results = dict(
        seg_map_path=str(tmp_path / 'l.png'), label_encoding=LabelEncoding('train_id', 5)
    )
    with pytest.raises(LabelError, match=r'l\.png: label values 7 \(16 pixels\)'):
        transform(dict(results))
    write_raster(tmp_path / 'l.png', np.zeros((4, 4), np.uint8))
    with pytest.raises(LabelError, match=r'l\.png: label of \(4, 4\) for an image of \(5, 4\)'):
        transform(dict(results, img=np.zeros((5, 4, 1))))


def test_bands_are_selected_by_name(rng):
    image = rng.integers(0, 255, (6, 7, 4)).astype(np.uint16)
    select = TRANSFORMS.build(dict(type='SelectBands', bands=('red', 'nir')))
    results = select(dict(img=image, bands=BANDS))
    np.testing.assert_array_equal(results['img'], image[..., [1, 0]])
    assert results['img'].dtype == np.uint16
    assert results['bands'] == ('red', 'nir')
    with pytest.raises(ValueError, match=r'no band swir; there are nir, red, green, blue'):
        TRANSFORMS.build(dict(type='SelectBands', bands=('swir',)))(dict(img=image, bands=BANDS))
    with pytest.raises(ValueError, match='no band names; say them'):
        select(dict(img=image))
    with pytest.raises(ValueError, match='3 band names for 4 bands'):
        select(dict(img=image, bands=BANDS[:3]))
    told = TRANSFORMS.build(dict(type='SelectBands', bands=('Blue',), source=BANDS))
    for results in (dict(img=image), dict(img=image, bands=('b8', 'b4', 'b3', 'b2'))):
        np.testing.assert_array_equal(told(results)['img'], image[..., 3:])


@pytest.mark.parametrize('dtype', [np.uint8, np.int16, np.uint16, np.float32])
@pytest.mark.parametrize('bands', [BANDS, BANDS[:1], ('b1', 'b2', 'b3', 'b4', 'b5')])
def test_photometric_distortion_keeps_bands_and_type(rng, dtype, bands):
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


def test_colour_changes_touch_red_green_and_blue_only(rng):
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


def test_distortion_without_a_draw_changes_nothing(rng, monkeypatch):
    monkeypatch.setattr(np.random, 'randint', lambda *_: 0)
    image = rng.integers(0, 60000, (8, 8, 4)).astype(np.uint16)
    distort = TRANSFORMS.build(dict(type='MultiBandPhotoMetricDistortion'))
    np.testing.assert_array_equal(distort(dict(img=image, bands=BANDS))['img'], image)


@pytest.mark.parametrize(
    'stock',
    [
        dict(type='RandomFlip', prob=1.0),
        dict(type='RandomRotFlip', rotate_prob=0.0, flip_prob=1.0),
        dict(type='RandomCrop', crop_size=(20, 20)),
    ],
    ids=lambda config: config['type'],
)
def test_stock_transforms_keep_image_and_label_together(rng, stock):
    ids = rng.integers(0, 5, (32, 32)).astype(np.uint8)
    image = np.repeat(ids[..., None].astype(np.uint16) * 1000, 5, axis=2)
    for _ in range(8):
        results = dict(
            img=image.copy(), gt_seg_map=ids.copy(), seg_fields=['gt_seg_map'], img_shape=(32, 32)
        )
        out = Compose([TRANSFORMS.build(stock)])(results)
        assert out['img'].dtype == np.uint16
        np.testing.assert_array_equal(
            out['img'][..., 4], out['gt_seg_map'].astype(np.uint16) * 1000
        )
