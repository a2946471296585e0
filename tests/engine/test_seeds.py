"""Training a config with several seeds."""

import copy
import csv
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config

from dnas_mmseg.apis import SeedScores, train_folds, train_seeds
from dnas_mmseg.engine import seeds
from dnas_mmseg.engine.config_parts import set_work_dir
from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.engine.running import ConsoleRunner, weight_classes
from dnas_mmseg.engine.seeds import (
    check_new_runs,
    find_result_checkpoint,
    first_fold,
    fold_config,
)
from dnas_mmseg.errors import UserError
from dnas_mmseg.visualization import find_training_folders

from ..conftest import ROOT, run

CONFIG = f"""_base_ = [
    '{ROOT}/configs/_base_/models/fcn_unet_s5.py',
    '{ROOT}/configs/_base_/datasets/gid5.py',
    '{ROOT}/configs/_base_/schedules/adamw_ema.py',
    '{ROOT}/configs/_base_/default_runtime.py',
]
model = dict(backbone=dict(base_channels=4), decode_head=dict(in_channels=4, channels=4))
train_cfg = dict(max_epochs=1, val_interval=1)
no_workers = dict(num_workers=0)
train_dataloader, val_dataloader, test_dataloader = no_workers, no_workers, no_workers
"""


@pytest.fixture
def path(tmp_path):
    (tmp_path / 'unet.py').write_text(CONFIG)
    return tmp_path / 'unet.py'


@pytest.fixture
def config(path, data_root, tmp_path):
    return load_config(path, data_root=data_root, work_dir=tmp_path / 'run')


def test_interrupted_seeds_are_resumed(config, tmp_path, monkeypatch):
    work_dir = tmp_path / 'run'
    config.randomness = dict(seed=3)
    first = train_seeds(config, 1)
    with pytest.raises(UserError, match='--resume continues them'):
        train_seeds(config, 2)
    kept = (work_dir / 'seed_3/epoch_1.pth').stat().st_mtime_ns
    both = train_seeds(config, 2, resume=True)
    assert list(both.scores) == [3, 4]
    assert both.scores[3] == first.scores[3] != both.scores[4]
    assert (work_dir / 'seed_3/epoch_1.pth').stat().st_mtime_ns == kept
    with open(work_dir / 'scores.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [float(row['mIoU']) for row in rows] == list(both.values('mIoU'))
    assert find_training_folders(work_dir) == [work_dir / 'seed_3', work_dir / 'seed_4']
    config.train_cfg.max_epochs = 2
    with pytest.raises(UserError, match='of another config'):
        train_seeds(config, 2, resume=True)


def test_mean_std_and_least_significant_difference():
    values = (70.0, 71.0, 72.0, 75.0)
    result = SeedScores({i: {'mIoU': v, 'IoU.water': None} for i, v in enumerate(values)})
    assert result.names == ['mIoU']
    assert result.mean('mIoU') == 72.0
    assert result.std('mIoU') == pytest.approx(np.sqrt(14 / 3))
    # Student's t with 3 degrees of freedom is 3.182 at 97.5 %.
    assert f'(95 %): {3.182 * np.sqrt(14 / 3 * 2 / 4):.1f}' in result.summary()
    assert 'at least two' in SeedScores({0: {'mIoU': 70.0}}).summary()


def test_result_checkpoint_is_the_average_or_the_best(config, tmp_path):
    folder = tmp_path / 'run'
    folder.mkdir()
    (folder / 'best_mIoU_epoch_1.pth').touch()
    (folder / 'epoch_2.pth').touch()
    (folder / 'last_checkpoint').write_text('epoch_2.pth')
    assert find_result_checkpoint(config) == str(folder / 'epoch_2.pth')
    config.custom_hooks = []
    assert find_result_checkpoint(config) == str(folder / 'best_mIoU_epoch_1.pth')


def test_the_tool_prints_the_table(path, data_root, tmp_path):
    command = (ROOT / 'tools/train.py', path, '--data-root', data_root)
    code, output = run(*command, '--work-dir', tmp_path / 'run', '--seeds', 1)
    assert code == 0, output
    for text in ('seed 0', 'mIoU', 'mean', 'train at least two seeds', 'scores.csv'):
        assert text in output
    code, output = run(*command, '--seeds', 0)
    assert code == 1
    assert '--seeds 0: must be at least 1' in output


def stop():
    raise KeyboardInterrupt


def test_each_fold_is_trained_and_tested(config, data_root, tmp_path, monkeypatch):
    with pytest.raises(
        UserError, match=r'fold1/train\.txt: no such list; .*dnas split ROOT --folds'
    ):
        train_folds(config)
    lines = (data_root / 'train.txt').read_text().splitlines(keepends=True)
    for number in (1, 2):
        folder = data_root / f'fold{number}'
        folder.mkdir()
        (folder / 'train.txt').write_text(''.join(lines[:2]))
        (folder / 'val.txt').write_text(lines[2])
        (folder / 'test.txt').write_text(lines[2 + number - 1])
    assert first_fold(config).train_dataloader.dataset.ann_file == 'fold1/train.txt'
    with monkeypatch.context() as patch:
        losses = []
        patch.setattr(seeds, 'train', lambda run: losses.append(run.model.decode_head.loss_decode))
        patch.setattr(seeds, 'find_result_checkpoint', lambda run: 'epoch_1.pth')
        patch.setattr(seeds, 'test', lambda run, path: None)
        with pytest.raises(FileNotFoundError):  # no scores
            train_folds(config, weighted=True)
        expected = [weight_classes(fold_config(config, n), count=True) for n in (1, 2)]
        assert [loss.class_weight for loss in losses] == expected
        shutil.rmtree(tmp_path / 'run')
    # What a user resumes may have been started from weights.
    trained = []
    with monkeypatch.context() as patch:
        patch.setattr(seeds, 'train', lambda run: trained.append(run))
        patch.setattr(seeds, 'find_usable_checkpoint', lambda folder: (Path('epoch_1.pth'), []))
        patch.setattr(seeds, 'find_result_checkpoint', lambda run: 'epoch_1.pth')
        patch.setattr(seeds, 'test', lambda run, path: stop())
        config.load_from = 'start.pth'
        with pytest.raises(KeyboardInterrupt):
            train_folds(config)
        assert (trained[0].resume, trained[0].load_from) == (True, None)
    config.load_from = None
    shutil.rmtree(tmp_path / 'run')
    result = train_folds(config)
    with pytest.raises(UserError, match='already contains training runs'):
        check_new_runs(tmp_path / 'run')
    assert train_folds(first_fold(config), resume=True).scores == result.scores
    assert list(result.scores) == [1, 2]
    assert result.scores[1] != result.scores[2]
    assert 'over 2 folds' in result.summary()
    assert result.rows()[0][0] == 'fold'
    for number in (1, 2):
        (path,) = (tmp_path / f'run/fold_{number}').glob('*.py')
        trained = Config.fromfile(path)
        assert trained.test_dataloader.dataset.ann_file == f'fold{number}/test.txt'


def test_runs_that_start_in_the_same_second_have_their_own_log(config, tmp_path, monkeypatch):
    monkeypatch.setattr('mmengine.runner.runner.time.strftime', lambda *_: '20240101_000000')
    for name in ('a', 'b'):
        run_config = copy.deepcopy(config)
        set_work_dir(run_config, tmp_path / name / 'retrain')
        ConsoleRunner.from_cfg(run_config).logger.info(f'this is {name}')
    for name in ('a', 'b'):
        (log,) = (tmp_path / name).rglob('*.log')
        assert re.findall('this is (.)', log.read_text()) == [name]
