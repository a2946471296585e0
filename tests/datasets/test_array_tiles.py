import numpy as np
import pytest

from dnas_mmseg.datasets import DatasetError, MultiBandSegDataset, list_array_tiles
from dnas_mmseg.datasets.checks import summarise
from dnas_mmseg.raster import RasterError

PIPELINE = [dict(type='LoadRasterFromFile'), dict(type='LoadRasterAnnotations')]
SETTINGS = dict(
    metainfo=dict(classes=('land', 'water', 'ice'), bands=('red', 'nir')),
    label_convention='train_id',
    pipeline=PIPELINE,
)


@pytest.fixture
def images(rng):
    return rng.integers(0, 3000, (6, 2, 16, 18)).astype(np.uint16)


@pytest.fixture
def labels(rng):
    return rng.integers(0, 3, (6, 16, 18))


def assert_equal(dataset, images, labels):
    assert len(dataset) == len(images)
    for sample, image, label in zip(dataset, images, labels, strict=True):
        np.testing.assert_array_equal(sample['img'], image.transpose(1, 2, 0))
        np.testing.assert_array_equal(sample['gt_seg_map'], label)
        assert (sample['img'].dtype, sample['gt_seg_map'].dtype) == (np.uint16, np.uint8)


def save_stacks(path, images, labels):
    """Write both stacks in the format of the suffix; without a suffix, to a folder."""
    if path.suffix == '.h5':
        h5py = pytest.importorskip('h5py')
        with h5py.File(path, 'w') as file:
            file['images'], file['labels'] = images, labels
    elif path.suffix == '.npz':
        np.savez(path, images=images, labels=labels)
    else:
        path.mkdir()
        np.save(path / 'images.npy', images)
        np.save(path / 'labels.npy', labels)


@pytest.mark.parametrize('name', ['tiles.h5', 'tiles.npz', 'tiles'])
def test_list_of_array_tiles(tmp_path, monkeypatch, images, labels, name):
    save_stacks(tmp_path / name, images, labels)
    monkeypatch.chdir(tmp_path)
    relative = list_array_tiles(name)
    absolute = list_array_tiles(tmp_path / name)
    assert len(relative) == 6
    expected = {
        'tiles': ('ARRAY:"tiles/images.npy":5', 'ARRAY:"tiles/labels.npy":5'),
    }.get(name, (f'ARRAY:"{name}":images:5', f'ARRAY:"{name}":labels:5'))
    assert relative[5] == expected
    monkeypatch.chdir('/')
    for pairs in (relative, absolute):
        (tmp_path / 'all.txt').write_text(''.join('\t'.join(pair) + '\n' for pair in pairs))
        dataset = MultiBandSegDataset(str(tmp_path), 'all.txt', **SETTINGS)
        assert dataset.pairs == absolute
        assert_equal(dataset, images, labels)
    summary = summarise(dataset.inspect(statistics=True), dataset.labels)
    assert (summary.files, summary.problems) == (6, [])
    np.testing.assert_allclose(summary.mean, images.mean((0, 2, 3)))
    np.testing.assert_array_equal(summary.class_pixels, np.bincount(labels.ravel()))


def test_list_relative_to_prefixes(tmp_path, images, labels):
    (tmp_path / 'x').mkdir()
    np.savez(tmp_path / 'x/tiles.npz', images=images, labels=labels)
    line = 'ARRAY:"tiles.npz":images:0\tARRAY:"x/tiles.npz":labels:0'
    (tmp_path / 'all.txt').write_text(line)
    prefix = dict(img_path='x', seg_map_path='labels')
    dataset = MultiBandSegDataset(str(tmp_path), 'all.txt', prefix, **SETTINGS)
    assert_equal(dataset, images[:1], labels[:1])


def test_missing_array_file_in_a_list(tmp_path):
    (tmp_path / 'all.txt').write_text('ARRAY:"no.h5":images:0\tARRAY:"no.h5":labels:0')
    with pytest.raises(DatasetError, match=r'all\.txt:1: image ARRAY:".*/no\.h5":images:0 does'):
        MultiBandSegDataset(str(tmp_path), 'all.txt', **SETTINGS)


def test_invalid_array_name_in_a_list(tmp_path):
    (tmp_path / 'all.txt').write_text('ARRAY:tiles.h5:images:0\tb.png')
    with pytest.raises(DatasetError, match=r'all\.txt:1: ARRAY:tiles.*not the name of an array'):
        MultiBandSegDataset(str(tmp_path), 'all.txt', **SETTINGS)


def test_folders_of_npy(tmp_path, images, labels):
    for folder, values in (('images', images), ('labels', labels)):
        (tmp_path / folder).mkdir()
        for i, value in enumerate(values):
            np.save(tmp_path / folder / f'{i}.npy', value)
    dataset = MultiBandSegDataset(
        str(tmp_path), img_suffix='.npy', seg_map_suffix='.npy', **SETTINGS
    )
    assert dataset.pairs[3] == (f'{tmp_path}/images/3.npy', f'{tmp_path}/labels/3.npy')
    assert_equal(dataset, images, labels)
    np.save(tmp_path / 'images/2.npy', np.zeros((3, 16, 18), np.uint16))
    with pytest.raises(DatasetError, match=r'2\.npy: 3 bands, expected 2 \(red, nir\)'):
        MultiBandSegDataset(str(tmp_path), img_suffix='.npy', seg_map_suffix='.npy', **SETTINGS)


def test_invalid_stacks(tmp_path, images, labels):
    path = tmp_path / 'a.npz'
    np.savez(path, images=images, labels=labels[:4], flat=labels[0])
    with pytest.raises(DatasetError, match=r'a\.npz: 6 images in images, but 4 labels in labels'):
        list_array_tiles(path)
    with pytest.raises(DatasetError, match=r'shape \(16, 18\) is not a stack of tiles'):
        list_array_tiles(path, labels='flat')
    with pytest.raises(RasterError, match='no array truth; it contains images, labels, flat'):
        list_array_tiles(path, labels='truth')
