import numpy as np
import pytest
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


def test_nodata_is_255_in_the_label(tmp_path, rng):
    samples = rng.integers(1, 250, (4, 8, 8)).astype(np.uint8)
    samples[:, :3] = 0
    samples[0, 5] = 0  # in a single band: valid
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


def test_label_errors_name_the_file(tmp_path):
    transform = TRANSFORMS.build(dict(type='LoadRasterAnnotations'))
    write_raster(tmp_path / 'l.png', np.full((4, 4), 7, np.uint8))
    results = dict(
        seg_map_path=str(tmp_path / 'l.png'), label_encoding=LabelEncoding('train_id', 5)
    )
    with pytest.raises(LabelError, match=r'l\.png: label values 7 \(16 pixels, 100 %\)'):
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
    with pytest.raises(ValueError, match=r'no band swir among nir, red, green, blue'):
        TRANSFORMS.build(dict(type='SelectBands', bands=('swir',)))(dict(img=image, bands=BANDS))
    with pytest.raises(ValueError, match='no band names; set them'):
        select(dict(img=image))
    with pytest.raises(ValueError, match='3 band names for 4 bands'):
        select(dict(img=image, bands=BANDS[:3]))
    select = TRANSFORMS.build(dict(type='SelectBands', bands=('Blue',), source=BANDS))
    for results in (dict(img=image), dict(img=image, bands=('b8', 'b4', 'b3', 'b2'))):
        np.testing.assert_array_equal(select(results)['img'], image[..., 3:])
