"""The part of the training list that candidates are scored on."""

import numpy as np
import pytest
from mmengine.config import Config

from dnas_mmseg.errors import UserError
from dnas_mmseg.raster import write_raster
from dnas_mmseg.search.halving.split import check_leakage, selection_lists, set_lists

from ...conftest import make_data_root


@pytest.fixture
def config(tiny):
    return Config.fromfile(str(tiny))


def _lines(path):
    return path.read_text().splitlines()


def _rename(root, names):
    """Give tiles other names, in the files and in the list."""
    lines = []
    for i, line in enumerate(_lines(root / 'train.txt')):
        new = names(i)
        for path in line.split('\t'):
            (root / path).rename(root / path.replace(f't_{i}_0', new))
        lines.append(line.replace(f't_{i}_0', new))
    (root / 'train.txt').write_text('\n'.join(lines) + '\n')


def test_tiles_are_split_in_runs_where_there_are_few_scenes(config, tmp_path):
    own = _lines(tmp_path / 'data/train.txt')
    train, scored = map(_lines, selection_lists(config, 0, tmp_path / 'out'))
    assert sorted(train + scored) == sorted(own)
    assert len(scored) == 3  # a fifth of 12, rounded up
    assert train == [line for line in own if line not in scored]
    assert list(map(_lines, selection_lists(config, 0, tmp_path / 'again'))) == [train, scored]
    others = [_lines(selection_lists(config, seed, tmp_path / 'x')[1]) for seed in range(1, 6)]
    assert any(other != scored for other in others)


def test_tiles_without_a_label_are_not_scored(config, tmp_path):
    (_, scored) = selection_lists(config, 0, tmp_path / 'out')
    first, *rest = _lines(scored)
    blank = np.full((64, 64), 255, np.uint8)
    write_raster(tmp_path / 'data' / first.split('\t')[1], blank)
    train, scored = map(_lines, selection_lists(config, 0, tmp_path / 'out'))
    assert scored == rest
    assert first not in train
    for line in rest:
        write_raster(tmp_path / 'data' / line.split('\t')[1], blank)
    with pytest.raises(UserError, match='none of the 3 tiles to score on has a label'):
        selection_lists(config, 0, tmp_path / 'out')


def test_scenes_stay_whole(tmp_path, config):
    root = make_data_root(tmp_path / 'scenes', count=42)
    _rename(root, lambda i: f'scene{i % 8}_{i}_0')
    config.merge_from_dict({'train_dataloader.dataset.data_root': str(root)})
    train, scored = map(_lines, selection_lists(config, 0, tmp_path / 'out'))
    scenes = [{line.split('_')[0] for line in lines} for lines in (train, scored)]
    assert not scenes[0] & scenes[1]
    assert len(scenes[1]) == 2


def test_a_config_trains_on_one_list_and_validates_on_the_other(config, tmp_path):
    train, scored = selection_lists(config, 0, tmp_path / 'out')
    loader = config.val_dataloader.to_dict()
    set_lists(config, train, scored)
    assert config.train_dataloader.dataset.ann_file == str(train)
    own = config.val_dataloader.dataset
    assert own.ann_file == str(scored)
    assert own.test_mode is True
    assert own.pipeline == loader['dataset']['pipeline']
    assert own.data_root == config.train_dataloader.dataset.data_root


def test_leakage_is_refused(config, tmp_path, capsys):
    root = tmp_path / 'data'
    train, scored = selection_lists(config, 0, tmp_path / 'out')
    check_leakage(config, train, scored)
    with pytest.raises(UserError, match='tiles are in both lists'):
        check_leakage(config, root / 'train.txt', scored)
    with pytest.raises(UserError, match=r'1 tiles to score on are in the test list'):
        check_leakage(config, train, root / 'test.txt')


def test_leakage_of_validation_is_told_of(config, tmp_path, capsys):
    root = tmp_path / 'data'
    (root / 'val.txt').write_text(_lines(root / 'train.txt')[0] + '\n')
    check_leakage(config, *selection_lists(config, 0, tmp_path / 'out'))
    output = ''.join(capsys.readouterr())
    assert 'are in the validation list, too' in output


def test_scenes_on_both_sides_are_told_of(config, tmp_path, capsys):
    root = make_data_root(tmp_path / 'scenes', count=42)
    _rename(root, lambda i: f'scene{i % 8}_{i}_0')
    config.merge_from_dict({'train_dataloader.dataset.data_root': str(root)})
    lines = _lines(root / 'train.txt')
    a, b = tmp_path / 'a.txt', tmp_path / 'b.txt'
    a.write_text('\n'.join(lines[:30]) + '\n')
    b.write_text('\n'.join(lines[30:]) + '\n')
    check_leakage(config, a, b)
    assert '8 scenes have tiles on both sides' in ''.join(capsys.readouterr())


def test_several_training_sets_are_refused(config, tmp_path):
    plain = config.train_dataloader.dataset.to_dict()
    config.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[plain, plain])
    with pytest.raises(UserError, match='is one MultiBandSegDataset'):
        selection_lists(config, 0, tmp_path / 'out')
    with pytest.raises(UserError, match='one training set, not several'):
        set_lists(config, tmp_path / 'a', tmp_path / 'b')


def test_one_tile_cannot_be_split(config, tmp_path):
    root = tmp_path / 'data'
    (root / 'train.txt').write_text(_lines(root / 'train.txt')[0] + '\n')
    with pytest.raises(UserError, match='1 tiles to train on cannot be split'):
        selection_lists(config, 0, tmp_path / 'out')
