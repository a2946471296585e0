import shutil

import numpy as np
import pytest

from dnas_mmseg.datasets import DatasetError, GID5Dataset
from dnas_mmseg.datasets.gid5 import BANDS, CLASSES, PALETTE
from dnas_mmseg.datasets.synthetic import make_scene, write_scenes
from dnas_mmseg.datasets.tiling import (
    Scene,
    cut_scenes,
    find_scenes,
    scenes_from_lists,
    split_scenes,
    tile_windows,
)
from dnas_mmseg.raster import Raster, read_raster

FACTS = dict(classes=CLASSES, palette=PALETTE, bands=BANDS, label_convention='rgb')


def test_a_gid5_scene_has_210_tiles_that_cover_it():
    windows = tile_windows(6800, 7200, 512, 512)
    assert len(windows) == 14 * 15
    covered = np.zeros((6800, 7200), bool)
    for row, column, height, width in windows:
        covered[row : row + height, column : column + width] = True
    assert covered.all()
    assert max(w.row for w in windows) == 6800 - 512
    assert tile_windows(512, 512, 512, 512) == [(0, 0, 512, 512)]
    assert len(tile_windows(512, 1024, 512, 256)) == 3


@pytest.fixture(scope='module')
def scenes_root(tmp_path_factory):
    root = tmp_path_factory.mktemp('scenes')
    write_scenes(root, count=5, size=96)
    return root


def scenes(root):
    return find_scenes(root / 'image_NirRGB', root / 'label_5classes', '_label')


def test_tiles_are_the_scenes_samples_with_their_place(scenes_root, tmp_path):
    splits = split_scenes(scenes(scenes_root), (0.6, 0.2, 0.2))
    description = cut_scenes(splits, tmp_path, size=40, **FACTS)
    assert {split: len(s) for split, s in splits.items()} == {'train': 3, 'val': 1, 'test': 1}
    dataset = GID5Dataset(data_root=str(tmp_path), ann_file='train.txt', check_files=27)
    assert len(dataset) == 3 * 9
    scene = splits['train'][0]
    name = f'{scene.name}_56_40'
    stored, label = make_scene(96, int(scene.name.split('L1A')[1].split('-')[0]))
    image = tmp_path / f'images/{name}.tif'
    np.testing.assert_array_equal(read_raster(image), stored[:, 56:96, 40:80])
    np.testing.assert_array_equal(
        read_raster(tmp_path / f'labels/{name}.png')[0], label[56:96, 40:80]
    )
    whole, tile = Raster(scene.image).info, Raster(image).info
    assert tile.crs == whole.crs
    assert tile.transform[0] == whole.transform[0] + 40 * 4
    assert tile.transform[3] == whole.transform[3] - 56 * 4
    assert tile.names == BANDS
    assert description.class_shares == pytest.approx(
        tuple(
            np.bincount(
                np.concatenate([read_raster(p)[0] for _, p in dataset.pairs], axis=None),
                minlength=256,
            )[:5]
            / sum((read_raster(p)[0] != 255).sum() for _, p in dataset.pairs)
        ),
        abs=1e-6,
    )


def test_a_scene_smaller_than_a_tile_is_padded_and_ignored_there(scenes_root, tmp_path):
    cut_scenes({'train': scenes(scenes_root)[:1]}, tmp_path, size=128, **FACTS)
    (pair,) = (tmp_path / 'train.txt').read_text().splitlines()
    image, label = (read_raster(tmp_path / part) for part in pair.split('\t'))
    assert image.shape == (4, 128, 128)
    assert (label[0, 96:] == 255).all()
    assert (label[0, :, 96:] == 255).all()
    assert (image[:, 96:] == 0).all()


def test_splits_are_by_scene_and_repeatable():
    many = [Scene(f's{i}', None, None) for i in range(150)]
    splits = split_scenes(many, (0.6, 0.2, 0.2), seed=3)
    assert [len(splits[s]) for s in ('train', 'val', 'test')] == [90, 30, 30]
    assert len({scene.name for part in splits.values() for scene in part}) == 150
    assert splits == split_scenes(many, (0.6, 0.2, 0.2), seed=3)
    assert splits != split_scenes(many, (0.6, 0.2, 0.2), seed=4)
    assert [len(s) for s in split_scenes(many[:3], (0.9, 0.05, 0.05)).values()] == [1, 1, 1]
    assert [len(s) for s in split_scenes(many, (0.8, 0, 0.2)).values()] == [120, 0, 30]
    with pytest.raises(DatasetError, match='2 scenes cannot be divided into 3 splits'):
        split_scenes(many[:2], (0.6, 0.2, 0.2))


def test_lists_of_scenes(tmp_path):
    known = [Scene(name, None, None) for name in ('a', 'b', 'c')]
    (tmp_path / 'train.txt').write_text('a\nb.tif\n')
    (tmp_path / 'test.txt').write_text('c\n')
    lists = {split: tmp_path / f'{split}.txt' for split in ('train', 'test')}
    splits = scenes_from_lists(known, lists)
    assert {s: [x.name for x in part] for s, part in splits.items()} == {
        'train': ['a', 'b'],
        'val': [],
        'test': ['c'],
    }
    (tmp_path / 'test.txt').write_text('a\n')
    with pytest.raises(DatasetError, match=r"test\.txt:1: scene 'a' is in .*train\.txt already"):
        scenes_from_lists(known, lists)
    (tmp_path / 'test.txt').write_text('z\n')
    with pytest.raises(DatasetError, match="there is no scene 'z'"):
        scenes_from_lists(known, lists)


def test_scenes_that_cannot_be_used(scenes_root, tmp_path):
    with pytest.raises(DatasetError, match=r'no \.tif or \.tiff files'):
        find_scenes(tmp_path, tmp_path, '_label')
    with pytest.raises(DatasetError, match=r'no label .*-MSS1_5label\.tif/\.png for .*and 4 more'):
        find_scenes(scenes_root / 'image_NirRGB', scenes_root / 'label_5classes', '_5label')
    (scene, *_) = scenes(scenes_root)
    with pytest.raises(DatasetError, match='4 bands, expected 3'):
        cut_scenes({'train': [scene]}, tmp_path, **{**FACTS, 'bands': BANDS[:3]})
    with pytest.raises(DatasetError, match=r'_label\.tif at .*label has 3 bands'):
        cut_scenes({'train': [scene]}, tmp_path, **{**FACTS, 'label_convention': 'index'})


def test_what_other_programs_leave_beside_scenes_is_no_scene(scenes_root, tmp_path):
    for folder in ('image_NirRGB', 'label_5classes'):
        shutil.copytree(scenes_root / folder, tmp_path / folder)
    first = next((tmp_path / 'image_NirRGB').iterdir())
    (tmp_path / f'image_NirRGB/{first.name}.aux.xml').write_text('<PAMDataset/>')
    first.rename(first.with_suffix('.TIF'))
    assert len(scenes(tmp_path)) == 5


def test_impossible_wishes_are_refused_before_cutting(scenes_root, tmp_path):
    (scene, *_) = scenes(scenes_root)
    for size, stride in ((0, None), (32, 0), (32, -1), (32, 64)):
        with pytest.raises(DatasetError, match='0 < stride <= size is needed'):
            cut_scenes({'train': [scene]}, tmp_path, size=size, stride=stride, **FACTS)
    with pytest.raises(DatasetError, match='no scenes are for training'):
        cut_scenes({'train': [], 'test': [scene]}, tmp_path, **FACTS)
    for shares in ((0, 0.5, 0.5), (0.9, -0.1, 0.2)):
        with pytest.raises(DatasetError, match='train needs one above 0'):
            split_scenes([scene], shares)
    with pytest.raises(DatasetError, match=r'none\.txt: no such list file'):
        scenes_from_lists([scene], {'train': tmp_path / 'none.txt'})
    with pytest.raises(DatasetError, match='labels: no such folder'):
        find_scenes(scenes_root / 'image_NirRGB', tmp_path / 'labels', '_label')
    assert not list(tmp_path.iterdir())
