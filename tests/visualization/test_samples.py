import numpy as np
from mmengine.dataset import ConcatDataset, RepeatDataset
from mmseg.datasets import BaseSegDataset
from PIL import Image

from dnas_mmseg.datasets import GID5Dataset
from dnas_mmseg.visualization import draw_samples

from ..conftest import make_data_root

PIPELINE = [
    dict(type='LoadRasterFromFile'),
    dict(type='LoadRasterAnnotations'),
    dict(type='PackSegInputs'),
]


def test_samples_display_the_selected_bands(data_root, tmp_path):
    """Band names follow the order of the pipeline."""
    pictures = {}
    for name, bands in (
        ('kept', ('nir', 'red', 'green', 'blue')),
        ('turned', ('blue', 'green', 'red', 'nir')),
    ):
        pipeline = [
            dict(type='LoadRasterFromFile'),
            dict(type='LoadRasterAnnotations'),
            dict(type='SelectBands', bands=bands),
            dict(type='PackSegInputs'),
        ]
        dataset = GID5Dataset(data_root=str(data_root), ann_file='train.txt', pipeline=pipeline)
        (path,) = draw_samples(dataset, 1).save(tmp_path / name)
        pictures[name] = np.array(Image.open(path))
    np.testing.assert_array_equal(pictures['kept'], pictures['turned'])


def test_samples_of_wrapped_data_sets_keep_their_names(data_root, tmp_path):
    """Tiles of the same name in two folders are two pictures; repeated ones are drawn once."""
    one, other = (
        GID5Dataset(data_root=str(root), ann_file='val.txt', pipeline=PIPELINE)
        for root in (data_root, make_data_root(tmp_path / 'other'))
    )
    wrapped = ConcatDataset([one, other])
    pictures = draw_samples(wrapped, 9)
    assert list(pictures.names) == ['t_4_0', 't_5_0', 't_4_0_2', 't_5_0_2']
    assert list(pictures.pictures[:2]) == list(draw_samples(one, 2).pictures)
    assert len(pictures.save(tmp_path / 'out')) == len(list((tmp_path / 'out').iterdir())) == 4
    assert draw_samples(wrapped, 3).names == ['t_4_0', 't_5_0', 't_4_0_2']
    assert draw_samples(RepeatDataset(one, times=3), 9).names == ['t_4_0', 't_5_0']


def test_samples_of_stock_data_sets_with_and_without_labels(tmp_path):
    for folder in ('images', 'labels'):
        (tmp_path / folder).mkdir()
    Image.fromarray(np.full((32, 32, 3), 90, np.uint8)).save(tmp_path / 'images/a.jpg')
    Image.fromarray(np.ones((32, 32), np.uint8)).save(tmp_path / 'labels/a.png')
    sizes = []
    for loaders in (['LoadImageFromFile', 'LoadAnnotations'], ['LoadImageFromFile']):
        dataset = BaseSegDataset(
            data_root=str(tmp_path),
            data_prefix=dict(img_path='images', seg_map_path='labels'),
            metainfo=dict(classes=('land', 'water'), palette=[[1, 2, 3], [250, 0, 0]]),
            pipeline=[*(dict(type=name) for name in loaders), dict(type='PackSegInputs')],
        )
        (path,) = draw_samples(dataset, 1).save(tmp_path / str(len(loaders)))
        red = (np.array(Image.open(path).convert('RGB')) == (250, 0, 0)).all(2).sum()
        sizes.append(red)
    assert sizes[0] > 10 * sizes[1]  # the legend has the colour as well


def test_samples_without_labels_are_drawn(data_root):
    prefix = dict(img_path='images', seg_map_path=None)
    dataset = GID5Dataset(data_root=str(data_root), data_prefix=prefix, pipeline=PIPELINE)
    assert draw_samples(dataset, 1).names == ['t_0_0']
