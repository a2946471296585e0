import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from mmseg.registry import DATASETS

from dnas_mmseg.datasets import DatasetError, GID5Dataset, MultiBandSegDataset
from dnas_mmseg.datasets.configs import configured_metainfo
from dnas_mmseg.datasets.gid5 import BANDS, CLASSES, PALETTE
from dnas_mmseg.raster import read_raster, write_raster

from ..conftest import make_data_root

PIPELINE = [dict(type='LoadRasterFromFile'), dict(type='LoadRasterAnnotations')]


def test_metadata_is_read_from_dataset_json(data_root):
    dataset = DATASETS.build(
        dict(type='MultiBandSegDataset', data_root=str(data_root), ann_file='train.txt')
    )
    assert len(dataset) == 4
    assert dataset.metainfo['classes'] == CLASSES
    assert dataset.metainfo['bands'] == BANDS
    assert dataset.pairs[0] == (
        str(data_root / 'images/t_0_0.tif'),
        str(data_root / 'labels/t_0_0.png'),
    )


def test_samples_equal_the_files(data_root):
    dataset = GID5Dataset(data_root=str(data_root), ann_file='train.txt', pipeline=PIPELINE)
    sample = dataset[1]
    image, label = dataset.pairs[1]
    np.testing.assert_array_equal(sample['img'].transpose(2, 0, 1), read_raster(image))
    np.testing.assert_array_equal(sample['gt_seg_map'], read_raster(label)[0])
    assert sample['bands'] == BANDS


def test_arguments_replace_dataset_json(tmp_path):
    root = make_data_root(tmp_path / 'd', describe=False)
    with pytest.raises(
        DatasetError, match=r'the classes are unknown: set metainfo=.*dataset\.json'
    ):
        MultiBandSegDataset(data_root=str(root), ann_file='train.txt')
    with pytest.raises(DatasetError, match='label_convention is unknown'):
        MultiBandSegDataset(
            data_root=str(root), ann_file='train.txt', metainfo=dict(classes=CLASSES)
        )
    dataset = MultiBandSegDataset(
        data_root=str(root),
        ann_file='train.txt',
        metainfo=dict(classes=CLASSES, palette=PALETTE, bands=BANDS),
        label_convention='train_id',
    )
    assert len(dataset) == 4


def test_folders_are_paired_by_name(data_root):
    assert len(GID5Dataset(data_root=str(data_root))) == 6
    (data_root / 'labels/t_3_0.png').unlink()
    shutil.copy(data_root / 'labels/t_1_0.png', data_root / 'labels/odd.png')
    with pytest.raises(DatasetError) as error:
        GID5Dataset(data_root=str(data_root))
    assert 't_3_0.tif: image without label' in str(error.value)
    assert 'odd.png: label without image' in str(error.value)


def test_images_without_labels(data_root):
    dataset = GID5Dataset(
        data_root=str(data_root), data_prefix=dict(img_path='images', seg_map_path=None)
    )
    assert dataset.pairs[0][1] is None


def test_list_of_relative_and_absolute_paths(data_root):
    lines = ['t_0_0.tif\tt_0_0.png', f'{data_root}/images/t_1_0.tif\t{data_root}/labels/t_1_0.png']
    (data_root / 'mixed.txt').write_text('\ufeff' + '\r\n'.join(lines), encoding='utf-8')
    assert len(GID5Dataset(data_root=str(data_root), ann_file='mixed.txt')) == 2


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('', r'list\.txt is empty'),
        ('\n \n', r'list\.txt is empty'),
        ('images/t_0_0.tif labels/t_0_0.png\n', r'list\.txt:1: expected "image<TAB>label"'),
        ('images/t_0_0.tif\tlabels/no.png\n', r'list\.txt:1: label .*no\.png does not exist'),
        ('\nimages/no.tif\tlabels/t_0_0.png\n', r'list\.txt:2: image .*no\.tif does not exist'),
    ],
)
def test_invalid_lists(data_root, content, message):
    (data_root / 'list.txt').write_text(content)
    with pytest.raises(DatasetError, match=message):
        GID5Dataset(data_root=str(data_root), ann_file='list.txt')


def test_missing_list_and_empty_folder(data_root, tmp_path):
    with pytest.raises(DatasetError, match=r'no\.txt: no such list file'):
        GID5Dataset(data_root=str(data_root), ann_file='no.txt')
    for name in ('images', 'labels'):
        (tmp_path / 'empty' / name).mkdir(parents=True)
    with pytest.raises(DatasetError, match=r'images: no files$'):
        GID5Dataset(data_root=str(tmp_path / 'empty'))
    with pytest.raises(DatasetError, match=r"no files with suffix '\.npy'"):
        GID5Dataset(data_root=str(tmp_path / 'empty'), img_suffix='.npy')
    with pytest.raises(DatasetError, match='no such folder'):
        GID5Dataset(data_root=str(tmp_path / 'nowhere'))


def corrupt(root: Path, kind: str) -> None:
    image, label = root / 'images/t_1_0.tif', root / 'labels/t_1_0.png'
    ids = read_raster(label)[0]
    if kind == 'five bands':
        write_raster(image, np.zeros((5, 64, 64), np.uint8))
    elif kind == 'uint16':
        write_raster(image, np.zeros((4, 64, 64), np.uint16))
    elif kind == 'band order':
        write_raster(image, np.zeros((4, 64, 64), np.uint8), names=('red', 'green', 'blue', 'nir'))
    elif kind == 'truncated':
        image.write_bytes(image.read_bytes()[:300])
    elif kind == 'label size':
        write_raster(label, ids[:32])
    elif kind == 'value 7':
        ids[10, 10:13] = 7
        write_raster(label, ids)
    elif kind == 'coloured label':
        write_raster(label, np.zeros((3, 64, 64), np.uint8))


@pytest.mark.parametrize(
    ('kind', 'message'),
    [
        ('five bands', r't_1_0\.tif: 5 bands, expected 4 \(nir, red, green, blue\)'),
        ('uint16', r't_1_0\.tif: samples are uint16, expected uint8'),
        ('band order', r'descriptions are red, green, blue, nir, expected'),
        ('truncated', r't_1_0\.tif: '),
        ('label size', r't_1_0\.png: label of 32 x 64 for an image of 64 x 64'),
        ('value 7', r't_1_0\.png: label values 7 \(3 pixels, [0-9.]+ %\) are unknown'),
        ('coloured label', r't_1_0\.png: the label has 3 bands'),
    ],
)
def test_invalid_files_raise_in_the_constructor(data_root, kind, message):
    corrupt(data_root, kind)
    with pytest.raises(DatasetError, match=message):
        GID5Dataset(data_root=str(data_root), ann_file='train.txt')
    # Not among the first `check_files` pairs: `dnas check` reports it.
    GID5Dataset(data_root=str(data_root), ann_file='train.txt', check_files=1)


def test_conflicting_label_conventions_raise(data_root):
    with pytest.raises(
        DatasetError, match="has label_convention='train_id', but the config has 'index'"
    ):
        GID5Dataset(data_root=str(data_root), ann_file='train.txt', label_convention='index')


def test_labels_of_the_other_convention_raise(data_root):
    (data_root / 'dataset.json').unlink()
    with pytest.raises(DatasetError, match="looks like label_convention='train_id'"):
        GID5Dataset(data_root=str(data_root), ann_file='train.txt', label_convention='index')


def test_subset_of_classes(data_root):
    """As in mmseg, a subset of the classes is used and the others are ignored."""
    dataset = GID5Dataset(
        data_root=str(data_root),
        ann_file='train.txt',
        metainfo=dict(classes=('water', 'forest')),
        pipeline=PIPELINE,
    )
    stored, label = read_raster(dataset.pairs[0][1])[0], dataset[0]['gt_seg_map']
    assert (label[stored == 4] == 0).all()
    assert (label[stored == 2] == 1).all()
    assert (label[(stored != 4) & (stored != 2)] == 255).all()
    assert dataset.metainfo['palette'] == (PALETTE[4], PALETTE[2])


def test_real_tiles_without_dataset_json(shared):
    dataset = GID5Dataset(
        data_root=str(shared / 'data/naip_rgbn'),
        ann_file='test.txt',
        metainfo=dict(bands=('red', 'green', 'blue', 'nir')),
        label_convention='index',
        pipeline=PIPELINE,
        check_files=50,
    )
    assert len(dataset) == 43
    assert dataset[0]['img'].shape == (256, 256, 4)
    assert set(np.unique(dataset[0]['gt_seg_map'])) <= {0, 1, 2, 3, 4}


def test_reordered_and_selected_classes(data_root):
    def build(*classes):
        return MultiBandSegDataset(
            data_root=str(data_root),
            ann_file='train.txt',
            metainfo=dict(classes=classes),
            pipeline=PIPELINE,
        )

    stored = read_raster(build(*CLASSES).pairs[0][1])[0]
    turned = build(*CLASSES[::-1])
    expected = np.where(stored == 255, 255, 4 - stored)
    np.testing.assert_array_equal(turned[0]['gt_seg_map'], expected)
    assert list(turned.metainfo['palette']) == list(PALETTE[::-1])
    part = build('water', 'forest')
    assert list(part.metainfo['palette']) == [PALETTE[4], PALETTE[2]]
    assert part.select_classes([0.1, 0.2, 0.3, 0.15, 0.25]) == [0.25, 0.3]
    with pytest.raises(
        DatasetError, match='metainfo classes snow are not among those of the files'
    ):
        build('water', 'snow')


def test_list_of_images_without_labels(data_root):
    (data_root / 'images.txt').write_text('images/t_0_0.tif\nt_1_0.tif\n')
    dataset = GID5Dataset(
        data_root=str(data_root),
        ann_file='images.txt',
        data_prefix=dict(img_path='images', seg_map_path=None),
    )
    assert [label for _, label in dataset.pairs] == [None, None]


def test_train_ids_read_as_indices_warn(data_root):
    (data_root / 'dataset.json').unlink()
    for path in (data_root / 'labels').iterdir():
        ids = read_raster(path)[0]
        ids[ids == 255] = 0
        write_raster(path, ids)
    with pytest.warns(UserWarning, match="never the last class.*'train_id'"):
        GID5Dataset(data_root=str(data_root), ann_file='train.txt', label_convention='index')


def test_band_names_are_case_insensitive(data_root):
    bands = ('NIR', 'Red', 'Green', 'Blue')
    dataset = GID5Dataset(
        data_root=str(data_root), ann_file='train.txt', metainfo=dict(bands=bands)
    )
    assert dataset.bands == BANDS
    with pytest.raises(DatasetError, match='descriptions are nir, red, green, blue, expected'):
        GID5Dataset(
            data_root=str(data_root), ann_file='train.txt', metainfo=dict(bands=bands[::-1])
        )


def test_class_balanced_dataset(data_root):
    """mmengine's ClassBalancedDataset uses ``get_cat_ids``."""
    rare = np.zeros((64, 64), np.uint8)
    for i in range(1, 4):
        write_raster(data_root / f'labels/t_{i}_0.png', rare)
    tiles = dict(type='MultiBandSegDataset', data_root=str(data_root), ann_file='train.txt')
    assert DATASETS.build(tiles).get_cat_ids(0) == [0, 1, 2, 3, 4]
    assert DATASETS.build(tiles).get_cat_ids(1) == [0]
    repeated = DATASETS.build(dict(type='ClassBalancedDataset', dataset=tiles, oversample_thr=0.9))
    # A class in a quarter of the tiles: sqrt(0.9 / 0.25) = 1.9 times, rounded up.
    assert len(repeated) == 2 + 3


def test_label_values_name_the_classes(data_root):
    values = {0: 'built', 1: 'built', 2: None, 3: 'grass', 4: 'water', 255: None}
    merged = MultiBandSegDataset(
        data_root=str(data_root), ann_file='train.txt', label_values=values, pipeline=PIPELINE
    )
    assert merged.metainfo['classes'] == ('built', 'grass', 'water')
    assert len(set(merged.metainfo['palette'])) == 3
    stored = read_raster(merged.pairs[0][1])[0]
    expected = np.array([0, 0, 255, 1, 2, *[255] * 251], np.uint8)[stored]
    np.testing.assert_array_equal(merged[0]['gt_seg_map'], expected)


def test_label_values_rename_the_classes_and_keep_the_colours(data_root):
    names = [f'class {i}' for i in range(5)]
    renamed = MultiBandSegDataset(
        data_root=str(data_root),
        ann_file='train.txt',
        label_values={**dict(enumerate(names)), 255: None},
    )
    assert renamed.metainfo['classes'] == tuple(names)
    assert tuple(map(tuple, renamed.metainfo['palette'])) == PALETTE


def test_label_values_in_dataset_json(tmp_path):
    root = make_data_root(tmp_path / 'd', describe=False)
    values = {'0': 'a', '1': 'a', '2': 'b', '3': 'b', '4': 'b', '255': None}
    (root / 'dataset.json').write_text(json.dumps({'label_values': values}), encoding='utf-8')
    dataset = MultiBandSegDataset(data_root=str(root), ann_file='train.txt')
    assert dataset.metainfo['classes'] == ('a', 'b')
    assert dataset.labels.codes == {0: 0, 1: 0, 2: 1, 3: 1, 4: 1, 255: 255}
    config = dict(type='MultiBandSegDataset', data_root=str(root))
    assert configured_metainfo(config)['classes'] == ('a', 'b')


def test_label_values_and_convention_contradict_each_other(data_root):
    with pytest.raises(DatasetError, match=r"label_convention='index' are both set"):
        MultiBandSegDataset(
            data_root=str(data_root), label_values={0: 'a'}, label_convention='index'
        )


def test_use_bands_selects_behind_the_loader(data_root):
    dataset = GID5Dataset(
        data_root=str(data_root), ann_file='train.txt', use_bands=('red', 'nir'), pipeline=PIPELINE
    )
    sample, stored = dataset[0], read_raster(dataset.pairs[0][0])
    assert sample['bands'] == ('red', 'nir')
    np.testing.assert_array_equal(sample['img'].transpose(2, 0, 1), stored[[1, 0]])
    assert dataset.used_bands == ('red', 'nir')
    assert dataset.metainfo['bands'] == BANDS
    config = dict(type='GID5Dataset', use_bands=['red', 'nir'])
    assert configured_metainfo(config)['use_bands'] == ('red', 'nir')


@pytest.mark.parametrize(
    ('pipeline', 'bands', 'message'),
    [
        (PIPELINE, ('red', 'swir16'), 'no band swir16 among those of the data set'),
        ([*PIPELINE, dict(type='SelectBands', bands=('red',))], ('red',), 'remove one of them'),
        ([dict(type='LoadRasterAnnotations')], ('red',), 'use_bands requires LoadRasterFromFile'),
    ],
)
def test_use_bands_that_cannot_be_selected(data_root, pipeline, bands, message):
    with pytest.raises(DatasetError, match=message):
        GID5Dataset(data_root=str(data_root), use_bands=bands, pipeline=pipeline)


def test_folders_of_any_raster_format(data_root):
    for path in sorted((data_root / 'images').iterdir())[:2]:
        path.rename(path.with_suffix('.TIFF'))
    assert len(GID5Dataset(data_root=str(data_root))) == 6
