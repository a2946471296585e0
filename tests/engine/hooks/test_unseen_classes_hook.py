"""Warning about classes without training pixels."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import IterBasedTrainLoop
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from dnas_mmseg.apis import train
from dnas_mmseg.engine import UnseenClassesHook
from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.raster import read_raster, write_raster

from ...conftest import ROOT


class Warnings(list):
    warning = list.append


def a_runner(classes=('road', 'roof', 'water'), loop=None, iteration=0):
    dataset = SimpleNamespace(metainfo=dict(classes=classes))
    loader = type('Loader', (), {'dataset': dataset, '__len__': lambda self: 2})()
    return SimpleNamespace(
        train_dataloader=loader, train_loop=loop, iter=iteration, logger=Warnings()
    )


def batch(*labels):
    return dict(
        data_samples=[
            SegDataSample(gt_sem_seg=PixelData(data=torch.tensor([[label]]))) for label in labels
        ]
    )


def epoch(hook, runner, *batches):
    for i, data in enumerate(batches):
        hook.after_train_iter(runner, i, data)
        runner.iter += 1
    hook.after_train_epoch(runner)


def test_missing_classes_are_reported_once():
    hook, runner = UnseenClassesHook(), a_runner()
    hook.before_train(runner)
    epoch(hook, runner, batch([0, 255], [255, 255]), batch([0, 0]))
    epoch(hook, runner, batch([0, 0]))
    (warning,) = runner.logger
    assert warning.startswith(
        "classes 'roof', 'water' did not occur in the training labels of the first epoch"
    )
    assert '255 means unlabelled' not in warning


def test_the_warning_explains_255_for_two_classes():
    hook, runner = UnseenClassesHook(), a_runner(('ground', 'water'))
    hook.before_train(runner)
    epoch(hook, runner, batch([0, 255]))
    (warning,) = runner.logger
    assert warning.startswith("class 'water' did not occur")
    assert '255 means unlabelled' in warning


def test_no_warning_if_all_classes_occur_or_the_run_is_resumed():
    for start, labels in ((0, [0, 1, 2]), (2, [0, 0, 0])):
        hook, runner = UnseenClassesHook(), a_runner(iteration=start)
        hook.before_train(runner)
        epoch(hook, runner, batch(labels[:2]), batch(labels[2:]))
        assert not runner.logger


@pytest.mark.parametrize(('iterations', 'period'), [(5, 'first 3 iterations'), (2, '2 iterations')])
def test_an_iteration_based_run_is_checked_for_some_iterations(iterations, period):
    loop = IterBasedTrainLoop.__new__(IterBasedTrainLoop)
    hook, runner = UnseenClassesHook(min_iterations=3), a_runner(loop=loop)
    hook.before_train(runner)
    batches = [batch([0, 1])] * 3 + [batch([2, 2])] * 2
    epoch(hook, runner, *batches[:iterations])
    (warning,) = runner.logger
    assert f"'water' did not occur in the training labels of the {period} " in warning


def test_data_without_labels_or_classes_are_ignored():
    hook, runner = UnseenClassesHook(), a_runner(classes=())
    hook.before_train(runner)
    epoch(hook, runner, batch([0, 1]))
    assert not runner.logger
    hook, runner = UnseenClassesHook(), a_runner(classes=('road',))
    hook.before_train(runner)
    epoch(hook, runner, None, dict(data_samples=[SegDataSample()]))
    assert len(runner.logger) == 1


def test_every_training_run_uses_the_hook(data_root, tmp_path, capsys):
    for path in (data_root / 'labels').glob('*.png'):
        label = read_raster(path)[0]
        write_raster(path, np.where(label == 4, 255, label).astype(np.uint8))
    config: Config = load_config(
        ROOT / 'configs/dnas/dnas_l12_gid5.py', data_root=data_root, work_dir=tmp_path / 'run'
    )
    config.merge_from_dict(
        dict(
            model=dict(backbone=dict(base_channels=2), decode_head=dict(channels=8)),
            train_cfg=dict(max_epochs=2),
            experiment_name=str(tmp_path),
            visualizer=dict(name=str(tmp_path)),
            train_dataloader=dict(num_workers=0),
            val_dataloader=dict(num_workers=0),
        )
    )
    train(config)
    assert capsys.readouterr().out.count("class 'water' did not occur in the training") == 1
