"""Processes of data loaders end with a run."""

import gc
import multiprocessing
import time

import pytest
from mmengine.config import Config

from dnas_mmseg.engine.running import train

from ..conftest import ROOT, make_data_root


@pytest.fixture
def config(tmp_path):
    """A training run whose loaders keep their processes, as mmseg's own configs."""
    root = make_data_root(tmp_path / 'data', count=8)
    config = Config.fromfile(str(ROOT / 'configs/dnas/dnas_l12_gid5.py'))
    config.merge_from_dict(
        dict(
            work_dir=str(tmp_path / 'run'), experiment_name=tmp_path.name, log_level='ERROR',
            model=dict(backbone=dict(base_channels=2), decode_head=dict(channels=8)),
            train_cfg=dict(max_epochs=1), param_scheduler=dict(T_max=1),
            visualizer=dict(name=tmp_path.name),
        )
    )  # fmt: skip
    for split in ('train', 'val', 'test'):
        config[f'{split}_dataloader'].dataset.data_root = str(root)
    config.train_dataloader.dataset.pipeline[2].crop_size = (32, 32)
    for split in ('train', 'val'):
        config[f'{split}_dataloader'].update(num_workers=1, persistent_workers=True)
    return config


def by_iterations(config):
    config.train_cfg = dict(type='IterBasedTrainLoop', max_iters=2, val_interval=2)
    config.param_scheduler = dict(type='PolyLR', power=0.9, end=2, by_epoch=False)
    config.default_hooks.checkpoint.update(by_epoch=False, interval=2)
    config.train_dataloader.sampler = dict(type='InfiniteSampler', shuffle=True)


@pytest.mark.parametrize('change', [lambda config: None, by_iterations], ids=['epochs', 'iters'])
def test_no_process_outlives_a_training_run(config, change):
    """In garbage collection each would take five seconds."""
    change(config)
    before = set(multiprocessing.active_children())
    runner = train(config)
    end = time.monotonic() + 4
    while set(multiprocessing.active_children()) - before and time.monotonic() < end:
        time.sleep(0.02)
    assert set(multiprocessing.active_children()) <= before
    assert runner.iter >= 2
    del runner
    gc.collect()
