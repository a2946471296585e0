"""Decoded tiles that stay in memory."""

import os

import numpy as np
import pytest
from mmseg.registry import DATASETS
from osgeo import gdal

from dnas_mmseg.datasets.tile_cache import keep_tiles, load_once
from dnas_mmseg.raster import Raster, read_raster, write_raster


@pytest.fixture(autouse=True)
def no_tiles_left():
    yield
    keep_tiles(0)


@pytest.fixture
def reads(monkeypatch):
    """Paths of the rasters that were read."""
    found = []
    read = Raster.samples

    def samples(self, *args, **kwargs):
        found.append(self.path)
        return read(self, *args, **kwargs)

    monkeypatch.setattr(Raster, 'samples', samples)
    return found


def dataset(root, **settings):
    steps = [dict(type='LoadRasterFromFile'), dict(type='LoadRasterAnnotations')]
    kind = dict(type='MultiBandSegDataset', data_root=str(root), ann_file='train.txt')
    classes = dict(metainfo=dict(classes=('a', 'b'), bands=('red', 'nir')))
    settings = dict(label_convention='index') | settings
    return DATASETS.build(dict(**kind, **classes, **settings, pipeline=steps))


@pytest.fixture
def tiles(tmp_path, rng):
    """Data root of three tiles; nodata pixels in the first one."""
    lines = []
    for i in range(3):
        image = rng.integers(1, 99, (2, 8, 8)).astype(np.uint8)
        image[:, :2, :3] = 0 if i == 0 else image[:, :2, :3]
        write_raster(tmp_path / f'{i}.tif', image, nodata=0)
        write_raster(tmp_path / f'{i}_label.tif', rng.integers(0, 3, (1, 8, 8)).astype(np.uint8))
        lines.append(f'{i}.tif\t{i}_label.tif')
    (tmp_path / 'train.txt').write_text('\n'.join(lines))
    return tmp_path


def loaded(tiles):
    return [{key: tile[key] for key in ('img', 'gt_seg_map')} for tile in map(dict, tiles)]


def test_tiles_are_decoded_once_and_equal_those_on_disk(tiles, reads):
    data = dataset(tiles)
    reads.clear()
    expected = loaded(data[i] for i in range(3))
    assert len(reads) == 6
    keep_tiles(10**6)
    for _ in range(3):
        for tile, own in zip(expected, loaded(data[i] for i in range(3)), strict=True):
            for key, array in tile.items():
                np.testing.assert_array_equal(own[key], array)
                assert own[key].dtype == array.dtype
    assert len(reads) == 6 + 6
    assert np.isnan(expected[0]['img']).any()


def test_changes_by_transforms_do_not_reach_the_kept_tile(tiles):
    keep_tiles(10**6)
    data = dataset(tiles)
    first = loaded([data[1]])[0]
    before = {key: array.copy() for key, array in first.items()}
    for array in first.values():
        array[...] = 7
    for key, array in loaded([data[1]])[0].items():
        np.testing.assert_array_equal(array, before[key])


def test_a_changed_mask_does_not_reach_the_kept_tile(tiles):
    mask = gdal.GetDriverByName('GTiff').Create(str(tiles / '1.tif.msk'), 8, 8)
    mask.SetMetadataItem('INTERNAL_MASK_FLAGS_1', '2')
    mask.WriteArray(np.where(np.eye(8), 0, 255).astype(np.uint8))
    mask = None
    keep_tiles(10**6)
    data = dataset(tiles)
    data[1]['nodata_mask'][...] = False
    np.testing.assert_array_equal(data[1]['nodata_mask'], np.eye(8, dtype=bool))


def test_a_changed_file_is_read_again(tiles, rng):
    keep_tiles(10**6)
    data = dataset(tiles)
    data[1]
    image = rng.integers(1, 99, (2, 8, 8)).astype(np.uint8)
    write_raster(tiles / '1.tif', image, nodata=0)
    os.utime(tiles / '1.tif', ns=(1, 1))
    np.testing.assert_array_equal(data[1]['img'], image.transpose(1, 2, 0))


def test_data_sets_with_other_nodata_or_labels_do_not_share_tiles(tiles):
    keep_tiles(10**6)
    image, label = (read_raster(tiles / f'1{name}.tif') for name in ('', '_label'))
    plain = dataset(tiles)[1]
    assert plain['img'].dtype == np.uint8
    value = int(image[0, 0, 0])
    image[:, 3, 4] = value
    write_raster(tiles / '1.tif', image, nodata=0)
    assert np.isnan(dataset(tiles, nodata=value)[1]['img'][3, 4]).all()
    assert not np.isnan(dataset(tiles)[1]['img'].astype(float)).any()
    values = dict(label_convention=None, label_values={2: 'a', 1: 'b', 0: None})
    other = dataset(tiles, **values)[1]['gt_seg_map']
    np.testing.assert_array_equal(other == 0, label[0] == 2)
    np.testing.assert_array_equal(dataset(tiles)[1]['gt_seg_map'] == 0, label[0] == 1)


def test_the_limit_holds_and_the_first_tiles_stay(tiles, reads):
    data = dataset(tiles)
    reads.clear()
    keep_tiles(2 * (3 * 64 + 64))  # an image of two bands, its validity and its label, twice
    for _ in range(4):
        for i in range(3):
            data[i]
    assert [os.path.basename(path)[0] for path in reads].count('0') == 2
    assert [os.path.basename(path)[0] for path in reads].count('2') == 2 * 4
    keep_tiles(0)
    data[0]
    assert [os.path.basename(path)[0] for path in reads].count('0') == 4


def test_without_a_limit_nothing_is_kept():
    calls = []
    for _ in range(2):
        load_once('x', 'none', lambda: calls.append(1), lambda _: 0)
    assert len(calls) == 2
