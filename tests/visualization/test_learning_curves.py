import json

import mmcv
import pytest

from dnas_mmseg.errors import UserError
from dnas_mmseg.visualization import find_training_folders, read_curve, save_learning_curves


def test_curves_of_resumed_runs_are_read_and_plotted(tmp_path):
    parts = {'a': [(2, 40.0), (4, 55.0)], 'b': [(4, 56.0), (8, 60.0)]}  # b resumed from 3
    for name, values in parts.items():
        folder = tmp_path / f'run/{name}/vis_data'
        folder.mkdir(parents=True)
        lines = [json.dumps({'mIoU': y, 'step': x}) for x, y in values]
        (folder / 'scalars.json').write_text(
            '\n'.join(['{"loss": 1.0, "step": 9}', *lines, '{"mIo'])
        )
    curve = read_curve(tmp_path / 'run')
    assert curve == [(0.25, 40.0), (0.5, 56.0), (1.0, 60.0)]
    save_learning_curves(tmp_path / 'c.png', {'x': [curve, curve], 'y': [curve]})
    assert mmcv.imread(str(tmp_path / 'c.png')).std() > 5
    with pytest.raises(UserError, match='the logs contain no validation with OA'):
        read_curve(tmp_path / 'run', 'OA')


def test_a_run_that_ended_early_does_not_reach_the_end_of_the_axis(tmp_path):
    folder = tmp_path / 'run/20261201_000000/vis_data'
    folder.mkdir(parents=True)
    (folder / 'scalars.json').write_text('{"mIoU": 40.0, "step": 5}\n{"mIoU": 50.0, "step": 10}')
    (folder / 'config.py').write_text("train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=40)")
    curve = read_curve(tmp_path / 'run')
    assert curve == [(0.125, 40.0), (0.25, 50.0)]
    save_learning_curves(tmp_path / 'c.png', {'x': [curve, [(0.5, 1.0), (1.0, 2.0)]]})
    assert mmcv.imread(str(tmp_path / 'c.png')).std() > 5


def test_folders_of_seeds_and_folds(tmp_path):
    assert find_training_folders(tmp_path) == [tmp_path]
    for name in ('fold_10', 'fold_2', 'fold_1_copy', 'vis_data'):
        (tmp_path / name).mkdir()
    assert find_training_folders(tmp_path) == [tmp_path / 'fold_2', tmp_path / 'fold_10']
