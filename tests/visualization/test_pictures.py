import numpy as np
from PIL import Image

from dnas_mmseg.datasets import GID5Dataset
from dnas_mmseg.datasets.gid5 import CLASSES, PALETTE
from dnas_mmseg.visualization import (
    Row,
    class_colours,
    display_bands,
    false_colour,
    save_comparison,
    save_samples,
)


def test_bands_are_chosen_by_name():
    assert display_bands(('nir', 'red', 'green', 'blue'), 4) == (0, 1, 2)
    assert display_bands(('blue', 'green', 'red', 'nir'), 4) == (3, 2, 1)
    assert display_bands(('blue', 'green', 'red'), 3) == (2, 1, 0)
    assert display_bands((), 5) == (0, 1, 2)
    assert display_bands(('pan',), 1) == (0, 0, 0)


def test_uint16_is_stretched_between_percentiles(rng):
    image = rng.integers(300, 3000, (50, 50, 4)).astype(np.uint16)
    image[0, 0] = 65535
    picture = false_colour(image, ('nir', 'red', 'green', 'blue'))
    assert picture.dtype == np.uint8
    assert picture.shape == (50, 50, 3)
    assert 100 < picture.mean() < 155
    inner = (picture[..., 0] > 0) & (picture[..., 0] < 255)
    assert inner.mean() > 0.9
    order = np.argsort(image[inner][:, 0], kind='stable')
    assert (np.diff(picture[inner][:, 0][order].astype(int)) >= 0).all()


def test_missing_samples_are_black():
    image = np.random.rand(10, 10, 3).astype(np.float32)
    image[2, 3] = np.nan
    assert (false_colour(image)[2, 3] == 0).all()


def test_class_colours():
    picture = class_colours(np.array([[0, 4, 255]], np.uint8), PALETTE)
    assert picture.tolist() == [[[255, 0, 0], [0, 0, 255], [0, 0, 0]]]


def test_a_comparison_is_a_picture(tmp_path, rng):
    ids = rng.integers(0, 5, (20, 20)).astype(np.uint8)
    row = Row(rng.integers(0, 255, (20, 20, 4)).astype(np.uint8), ids, ids)
    facts = dict(bands=(), classes=CLASSES, palette=PALETTE)
    save_comparison(tmp_path / 'one.png', [row], **facts)
    save_comparison(tmp_path / 'three.png', [row] * 3, **facts, title='three')
    one, three = (np.array(Image.open(tmp_path / f'{n}.png')) for n in ('one', 'three'))
    assert three.shape[0] > 2 * one.shape[0]
    for colour in PALETTE:
        assert (one[..., :3] == colour).all(-1).any()


def test_samples_show_the_bands_that_were_selected(data_root, tmp_path):
    """Reordered by the pipeline: the names go with the samples."""
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
        (path,) = save_samples(dataset, tmp_path / name, 1)
        pictures[name] = np.array(Image.open(path))
    np.testing.assert_array_equal(pictures['kept'], pictures['turned'])
