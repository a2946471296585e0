import shutil
from pathlib import Path

import pytest

from dnas_mmseg.datasets import DatasetError
from dnas_mmseg.preparation.pairs import find_pairs
from dnas_mmseg.preparation.scenes import (
    Scene,
    StackSettings,
    find_scenes,
    split_by_lists,
    split_by_share,
)
from dnas_mmseg.raster import RasterError


@pytest.fixture
def folders(tmp_path):
    for i in range(5):
        for path in (f'images/s{i}.v1.tif', f'labels/gt_s{i}.v1_5label.png'):
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).touch()
    return tmp_path


def test_images_and_labels_are_paired_by_name(folders):
    found = find_scenes(folders, 'images/*', 'labels/gt_{name}_5label.*')
    assert [scene.name for scene in found] == [f's{i}.v1' for i in range(5)]
    assert found[2].label == folders / 'labels/gt_s2.v1_5label.png'


def test_mask_values_of_single_files_are_refused(folders):
    stacks = StackSettings(folders / 'out', mask_values=('3',))
    message = r'mask values are set \(3\), but a single raster has no quality band'
    with pytest.raises(RasterError, match=rf's0\.v1\.tif: {message}'):
        find_scenes(folders, 'images/*', 'labels/gt_{name}_5label.*', stacks)
    with pytest.raises(RasterError, match=rf'tiles\.h5: {message}'):
        find_pairs(folders, 'tiles.h5', 'tiles.h5', stacks)


def test_sidecar_files_are_skipped(folders):
    (folders / 'images/s0.v1.tif.aux.xml').write_text('<PAMDataset/>')
    (folders / 'labels/gt_s0.v1_5label.png.aux.xml').write_text('<PAMDataset/>')
    (folders / 'images/s1.v1.tif').rename(folders / 'images/s1.v1.TIF')
    assert len(find_scenes(folders, 'images/*', 'labels/gt_{name}_5label.*')) == 5


def test_names_with_affixes_in_folder_with_wildcard_characters(tmp_path):
    folder = tmp_path / 'scenes [5]'
    folder.mkdir()
    for name in ('x_rgb.tif', 'x_gt.tif', 'y_rgb.tif', 'y_gt.tif'):
        (folder / name).touch()
    found = find_scenes(folder, '{name}_rgb.tif', '{name}_gt.tif')
    assert [(s.name, s.image.name, s.label.name) for s in found] == [
        ('x', 'x_rgb.tif', 'x_gt.tif'),
        ('y', 'y_rgb.tif', 'y_gt.tif'),
    ]
    with pytest.raises(DatasetError, match='must not contain wildcards'):
        find_scenes(folder, '{name}_rgb.tif', '{name}*.tif')


def test_pairing_errors(folders):
    with pytest.raises(DatasetError, match=r"labels/\*: no such file or folder; .*'\{name\}'"):
        find_scenes(folders, 'images/*', 'labels/*')
    with pytest.raises(DatasetError, match=r'images/\*\.jp2: no rasters found'):
        find_scenes(folders, 'images/*.jp2', 'labels/gt_{name}_5label.*')
    with pytest.raises(DatasetError, match=r'nowhere/.name.\.png: no rasters found'):
        find_scenes(folders, 'images/*', 'nowhere/{name}.png')
    with pytest.raises(DatasetError, match=r'labels/s0\.v1\.png: no such label.*and 4 more'):
        find_scenes(folders, 'images/*', 'labels/{name}.png')
    shutil.copy(folders / 'images/s0.v1.tif', folders / 'images/s0.v1.png')
    with pytest.raises(DatasetError, match=r"are both named 's0\.v1'"):
        find_scenes(folders, 'images/*', 'labels/gt_{name}_5label.*')


def touch(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()


def test_names_of_folders(tmp_path):
    touch(tmp_path, *(f'{s}/{kind}.tif' for s in ('a', 'b.1') for kind in ('image', 'label')))
    found = find_scenes(tmp_path, '{name}/image.tif', '{name}/label.tif')
    assert [(s.name, str(s.label.relative_to(tmp_path))) for s in found] == [
        ('a', 'a/label.tif'), ('b.1', 'b.1/label.tif'),
    ]  # fmt: skip
    touch(tmp_path, 'x/y/s_a/s_a.tif', 'x/y/s_b/s_a.tif', 'x/gt/a.png')
    (scene,) = find_scenes(tmp_path, 'x/**/s_{name}/s_{name}.tif', 'x/gt/{name}.png')
    assert (scene.name, scene.image.name) == ('a', 's_a.tif')
    with pytest.raises(DatasetError, match='must not contain wildcards next to'):
        find_scenes(tmp_path, '*{name}/image.tif', '{name}/label.tif')
    with pytest.raises(DatasetError, match=r"in a pattern, .* such as .*'\{name\}/label\.tif'"):
        find_scenes(tmp_path, '*/image.tif', '*/label.tif')


def test_equal_names_in_several_folders(tmp_path):
    for date in ('2021', '2022'):
        touch(tmp_path, f'{date}/images/t.tif', f'{date}/labels/t.png')
    touch(tmp_path, '2022/images/only.tif', '2022/labels/only.png', 'x.png')
    for pattern in ('*', '**'):
        found = find_scenes(tmp_path, f'{pattern}/images/*.tif', f'{pattern}/labels/{{name}}.png')
        assert [(s.name, s.image.parts[-3], s.label.parts[-3]) for s in found] == [
            ('2021_t', '2021', '2021'), ('only', '2022', '2022'), ('2022_t', '2022', '2022'),
        ]  # fmt: skip
    shared = find_scenes(tmp_path, '*/images/*.tif', 'x.png')
    assert [scene.name for scene in shared] == ['2021_t', 'only', '2022_t']
    for labels in ('2022/labels/{name}.png', '*/*/{name}.png'):
        with pytest.raises(DatasetError, match="are both named 't': put "):
            find_scenes(tmp_path, '*/images/*.tif', labels)


def test_patterns_for_names_that_differ_are_suggested(tmp_path):
    for number in ('001', '002', '010'):
        touch(tmp_path, f'images/img_{number}.jpg', f'labels/lbl_{number}_gt.png')
    suggested = r"e\.g\. 'images/img_{name}\.jpg' 'labels/lbl_{name}_gt\.png'$"
    with pytest.raises(DatasetError, match=suggested):
        find_scenes(tmp_path, 'images', 'labels')
    found = find_scenes(tmp_path, 'images/img_{name}.jpg', 'labels/lbl_{name}_gt.png')
    assert [scene.name for scene in found] == ['001', '002', '010']
    touch(tmp_path, 'labels/other.png')
    with pytest.raises(DatasetError, match=r"e\.g\. 'images/{name}_rgb\.tif' 'labels/{name}_label"):
        find_scenes(tmp_path, 'images', 'labels')


def many(count):
    return [Scene(f's{i:03}', Path(f'{i}.tif'), Path(f'{i}.png')) for i in range(count)]


def test_split_by_share_is_by_scene_and_seeded():
    splits = split_by_share(many(150), (0.6, 0.2, 0.2), seed=3)
    assert [len(splits[s]) for s in ('train', 'val', 'test')] == [90, 30, 30]
    assert len({scene.name for part in splits.values() for scene in part}) == 150
    assert splits['train'] == sorted(splits['train'], key=lambda scene: scene.name)
    assert splits == split_by_share(many(150), (0.6, 0.2, 0.2), seed=3)
    assert splits != split_by_share(many(150), (0.6, 0.2, 0.2), seed=4)
    assert [len(s) for s in split_by_share(many(3), (0.9, 0.05, 0.05)).values()] == [1, 1, 1]
    assert [len(s) for s in split_by_share(many(150), (0.8, 0, 0.2)).values()] == [120, 0, 30]
    with pytest.raises(DatasetError, match='2 scenes cannot be split into 3 splits'):
        split_by_share(many(2), (0.6, 0.2, 0.2))
    for shares in ((0, 0.5, 0.5), (0.9, -0.1, 0.2)):
        with pytest.raises(DatasetError, match='a positive one for train'):
            split_by_share(many(9), shares)


def test_split_by_lists(tmp_path):
    (tmp_path / 'train.txt').write_text('s000\ns001.tif\n')
    (tmp_path / 'test.txt').write_text('s002\n')
    lists = {split: tmp_path / f'{split}.txt' for split in ('train', 'test')}
    splits = split_by_lists(many(3), lists)
    assert {s: [x.name for x in part] for s, part in splits.items()} == {
        'train': ['s000', 's001'],
        'val': [],
        'test': ['s002'],
    }
    (tmp_path / 'test.txt').write_text('s000\n')
    with pytest.raises(DatasetError, match=r"test\.txt:1: scene 's000' is already in .*train\.txt"):
        split_by_lists(many(3), lists)
    (tmp_path / 'test.txt').write_text('z\n')
    with pytest.raises(DatasetError, match="no scene 'z'"):
        split_by_lists(many(3), lists)
    known = [Scene(name, Path('i'), Path('l')) for name in ('s', 's.v1')]
    (tmp_path / 'bom.txt').write_text('s.v1\n', encoding='utf-8-sig')
    assert split_by_lists(known, {'train': tmp_path / 'bom.txt'})['train'] == known[1:]
    with pytest.raises(DatasetError, match=r'none\.txt: no such list file'):
        split_by_lists(many(3), {'train': tmp_path / 'none.txt'})
