"""torchgeo itself, where it is installed, on small files in the layouts of its data sets."""

from pathlib import Path

import numpy as np
import pytest

from dnas_mmseg.datasets import DatasetError, TorchGeoDataset
from dnas_mmseg.raster import write_raster

from .fake_torchgeo import LOAD

pytest.importorskip('torchgeo.datasets', reason='the extra torchgeo is not installed')


@pytest.fixture
def loveda(tmp_path, rng):
    for scene in ('Urban', 'Rural'):
        for i in range(2):
            image = rng.integers(0, 255, (3, 32, 32)).astype(np.uint8)
            mask = rng.integers(0, 8, (32, 32)).astype(np.uint8)
            for split in ('Train', 'Val'):
                folder = tmp_path / 'loveda' / split / scene
                write_raster(folder / f'images_png/{i}.png', image)
                write_raster(folder / f'masks_png/{i}.png', mask)
    return str(tmp_path / 'loveda')


def test_loveda(loveda):
    from PIL import Image

    dataset = TorchGeoDataset('LoveDA', root=loveda, split='train', pipeline=LOAD)
    assert len(dataset) == 4
    assert dataset.metainfo['bands'] == ('red', 'green', 'blue')
    assert dataset.metainfo['classes'] == (
        'background', 'building', 'road', 'water', 'barren', 'forest', 'agriculture',
    )  # fmt: skip
    folder = Path(loveda) / 'Train/Rural'
    sample = dataset[1]
    np.testing.assert_array_equal(sample['img'], Image.open(folder / 'images_png/1.png'))
    mask = np.array(Image.open(folder / 'masks_png/1.png'))
    np.testing.assert_array_equal(sample['gt_seg_map'], np.where(mask == 0, 255, mask - 1))
    assert sample['gt_seg_map'].dtype == np.uint8
    urban = TorchGeoDataset(
        'LoveDA', root=loveda, split='train', dataset_args=dict(scene=['urban'])
    )
    assert len(urban) == 2


def test_loveda_is_missing(tmp_path):
    with pytest.raises(DatasetError) as error:
        TorchGeoDataset('LoveDA', root=str(tmp_path), split='val')
    assert str(error.value).startswith(
        f"LoveDA of torchgeo: Dataset not found in `root='{tmp_path}'` and "
    )


def test_bands_of_sen12ms(tmp_path, rng):
    for name in ('train_list.txt', 'test_list.txt'):
        (tmp_path / name).write_text('ROIs1158_spring_lc_1_p1.tif\n')
    folder = tmp_path / 'ROIs1158_spring'
    s2 = rng.integers(0, 9000, (13, 16, 16)).astype(np.uint16)
    write_raster(folder / 's2_1/ROIs1158_spring_s2_1_p1.tif', s2)
    s1 = rng.normal(-10, 2, (2, 16, 16)).astype(np.float32)
    write_raster(folder / 's1_1/ROIs1158_spring_s1_1_p1.tif', s1)
    classes = rng.integers(1, 18, (4, 16, 16)).astype(np.uint16)
    write_raster(folder / 'lc_1/ROIs1158_spring_lc_1_p1.tif', classes)
    for name in ('ROIs1868_summer', 'ROIs1970_fall', 'ROIs2017_winter'):
        (tmp_path / name).mkdir()
    dataset = TorchGeoDataset(
        'SEN12MS',
        root=str(tmp_path),
        split='train',
        label_convention='index',
        metainfo=dict(classes=[f'igbp {i}' for i in range(1, 18)]),
        pipeline=LOAD,
    )
    assert dataset.bands == (
        'vv', 'vh', 'coastal', 'blue', 'green', 'red', 'rededge071', 'rededge075',
        'rededge078', 'nir', 'nir08', 'nir09', 'cirrus', 'swir16', 'swir22',
    )  # fmt: skip
    image = dataset[0]['img']
    np.testing.assert_array_equal(image[..., :2].transpose(2, 0, 1), s1)
    np.testing.assert_array_equal(image[..., 2:].transpose(2, 0, 1), s2)
    np.testing.assert_array_equal(dataset[0]['gt_seg_map'], classes[0] - 1)


def test_geo_data_sets_are_refused():
    with pytest.raises(DatasetError, match=r'NAIP is not a NonGeoDataset of torchgeo.*sampler'):
        TorchGeoDataset('NAIP')
    with pytest.raises(DatasetError, match=r'has no LovDA \(did you mean LoveDA'):
        TorchGeoDataset('LovDA')
