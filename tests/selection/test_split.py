import numpy as np
import pytest
from mmengine.config import Config

from dnas_mmseg.errors import UserError
from dnas_mmseg.raster import read_raster, write_raster
from dnas_mmseg.selection.split import (
    check_leakage,
    selection_lists,
    set_lists,
    validation_lists,
    validation_problem,
)

from ..conftest import make_data_root


@pytest.fixture
def config(tiny):
    return Config.fromfile(str(tiny))


def _lines(path):
    return path.read_text().splitlines()


def _rename(root, names):
    """Rename tiles in the data root and in the training list."""
    lines = []
    for i, line in enumerate(_lines(root / 'train.txt')):
        new = names(i)
        for path in line.split('\t'):
            (root / path).rename(root / path.replace(f't_{i}_0', new))
        lines.append(line.replace(f't_{i}_0', new))
    (root / 'train.txt').write_text('\n'.join(lines) + '\n')


def test_few_scenes_are_split_by_runs(config, tmp_path):
    lines = _lines(tmp_path / 'data/train.txt')
    train, scored = map(_lines, selection_lists(config, 0, tmp_path / 'out'))
    assert sorted(train + scored) == sorted(lines)
    assert len(scored) == 3  # a fifth of 12, rounded up
    assert train == [line for line in lines if line not in scored]
    assert list(map(_lines, selection_lists(config, 0, tmp_path / 'again'))) == [train, scored]
    others = [_lines(selection_lists(config, seed, tmp_path / 'x')[1]) for seed in range(1, 6)]
    assert any(other != scored for other in others)


def test_lists_of_array_tiles_are_relative_to_the_data_root(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / 'arrays'
    root.mkdir()
    images, labels = np.zeros((6, 4, 16, 16), np.uint8), np.zeros((6, 16, 16), np.uint8)
    images[:, 0, 0, 0] = range(6)
    np.savez(root / 'tiles.npz', images=images, labels=labels)
    lines = [f'ARRAY:"tiles.npz":images:{i}\tARRAY:"tiles.npz":labels:{i}' for i in range(6)]
    (root / 'all.txt').write_text('\n'.join(lines))
    dataset = config.train_dataloader.dataset
    dataset.update(
        type='MultiBandSegDataset', data_root='arrays', ann_file='all.txt',
        metainfo=dict(classes=('land', 'water'), bands=tuple('abcd')), label_convention='train_id',
    )  # fmt: skip
    written = selection_lists(config, 0, tmp_path / 'lists')
    found = [line for path in written for line in path.read_text().splitlines()]
    assert sorted(found) == lines


def test_unlabelled_tiles_are_not_scored(config, tmp_path):
    (_, scored) = selection_lists(config, 0, tmp_path / 'out')
    first, *rest = _lines(scored)
    blank = np.full((64, 64), 255, np.uint8)
    write_raster(tmp_path / 'data' / first.split('\t')[1], blank)
    train, scored = map(_lines, selection_lists(config, 0, tmp_path / 'out'))
    assert scored == rest
    assert first not in train
    for line in rest:
        write_raster(tmp_path / 'data' / line.split('\t')[1], blank)
    with pytest.raises(UserError, match='none of the 3 tiles to score on has labels'):
        selection_lists(config, 0, tmp_path / 'out')


def test_scenes_are_not_divided(tmp_path, config):
    root = make_data_root(tmp_path / 'scenes', count=42)
    _rename(root, lambda i: f'scene{i % 8}_{i}_0')
    config.merge_from_dict({'train_dataloader.dataset.data_root': str(root)})
    train, scored = map(_lines, selection_lists(config, 0, tmp_path / 'out'))
    scenes = [{line.split('_')[0] for line in lines} for lines in (train, scored)]
    assert not scenes[0] & scenes[1]
    assert len(scenes[1]) == 2


def test_set_lists(config, tmp_path):
    train, scored = selection_lists(config, 0, tmp_path / 'out')
    loader = config.val_dataloader.to_dict()
    set_lists(config, train, scored)
    assert config.train_dataloader.dataset.ann_file == str(train)
    own = config.val_dataloader.dataset
    assert own.ann_file == str(scored)
    assert own.test_mode is True
    assert own.pipeline == loader['dataset']['pipeline']
    assert own.data_root == config.train_dataloader.dataset.data_root


def test_validation_lists_that_score_candidates(config, tmp_path):
    root = tmp_path / 'data'
    tiles = _lines(root / 'train.txt')
    # The lists for validation and test of these data are the same.
    assert validation_problem(config) == 'the validation list shares tiles with the test list'
    (root / 'val.txt').write_text(tiles[0] + '\n')
    assert validation_problem(config) == 'the validation list has 1 tiles, the training list 12'
    (root / 'val.txt').write_text('\n'.join(tiles[:4]))
    assert validation_problem(config) == 'the validation list shares tiles with the training list'
    (root / 'train.txt').write_text('\n'.join(tiles[4:]))
    assert validation_problem(config) is None
    train, scored = map(_lines, validation_lists(config, tmp_path / 'out'))
    assert (train, scored) == (tiles[4:], tiles[:4])
    labels = tmp_path / 'data/labels'
    values = {tile: read_raster(labels / f't_{i}_0.png') for i, tile in enumerate(tiles[:4])}
    for i, value in enumerate(values.values()):
        write_raster(labels / f't_{i}_0.png', np.full_like(value[0], 255))
    assert validation_problem(config) == 'no pixel of the validation tiles is labelled'
    config.val_dataloader.dataset.metainfo = dict(bands=('a', 'b', 'c', 'd'))
    assert 'other settings than the training data' in validation_problem(config)
    config.pop('val_dataloader')
    assert validation_problem(config) == 'the config has no val_dataloader'


def test_error_for_leakage(config, tmp_path):
    root = tmp_path / 'data'
    train, scored = selection_lists(config, 0, tmp_path / 'out')
    check_leakage(config, train, scored)
    with pytest.raises(UserError, match='tiles are in both lists'):
        check_leakage(config, root / 'train.txt', scored)
    lines = _lines(root / 'train.txt')
    (root / 'train.txt').write_text('\n'.join([*lines, *_lines(root / 'test.txt')]))
    with pytest.raises(UserError, match=r'1 tiles to train the winner on are also in the test'):
        check_leakage(config, train, scored)
    (root / 'train.txt').write_text('\n'.join(lines))
    with pytest.raises(UserError, match=r'1 tiles to score on are also in the test list'):
        check_leakage(config, train, root / 'test.txt')


def test_warning_for_validation_tiles(config, tmp_path, capsys):
    root = tmp_path / 'data'
    (root / 'val.txt').write_text(_lines(root / 'train.txt')[0] + '\n')
    check_leakage(config, *selection_lists(config, 0, tmp_path / 'out'))
    output = ''.join(capsys.readouterr())
    assert 'are also in the validation list' in output


def test_warning_for_scenes_in_both_lists(config, tmp_path, capsys):
    root = make_data_root(tmp_path / 'scenes', count=42)
    _rename(root, lambda i: f'scene{i % 8}_{i}_0')
    config.merge_from_dict({'train_dataloader.dataset.data_root': str(root)})
    lines = _lines(root / 'train.txt')
    a, b = tmp_path / 'a.txt', tmp_path / 'b.txt'
    a.write_text('\n'.join(lines[:30]) + '\n')
    b.write_text('\n'.join(lines[30:]) + '\n')
    check_leakage(config, a, b)
    assert '8 scenes have tiles in both lists' in ''.join(capsys.readouterr())


def test_error_for_several_training_sets(config, tmp_path):
    plain = config.train_dataloader.dataset.to_dict()
    config.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[plain, plain])
    with pytest.raises(UserError, match='requires a single MultiBandSegDataset'):
        selection_lists(config, 0, tmp_path / 'out')
    with pytest.raises(UserError, match='requires a single training set'):
        set_lists(config, tmp_path / 'a', tmp_path / 'b')


def test_error_for_a_single_tile(config, tmp_path):
    root = tmp_path / 'data'
    (root / 'train.txt').write_text(_lines(root / 'train.txt')[0] + '\n')
    with pytest.raises(UserError, match='the training set has 1 tiles, too few to split'):
        selection_lists(config, 0, tmp_path / 'out')
