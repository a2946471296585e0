"""The length of a training, from hours."""

import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import LinearLR
from mmengine.registry import PARAM_SCHEDULERS

from dnas_mmseg.datasets.configs import leaf_datasets
from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.engine.length import (
    TrainingTimes,
    fit_length,
    full_epochs,
    measure_times,
    scale_schedule,
    set_length,
)
from dnas_mmseg.errors import UserError

from ..conftest import ROOT

CONFIG = ROOT / 'configs/dnas/dnas_l12_w16_naip.py'


@pytest.fixture
def config(data_root):
    config = load_config(CONFIG, data_root=data_root)
    config.model.backbone.base_channels = 2
    config.model.decode_head.channels = 4
    for split in ('train', 'val', 'test'):
        for leaf in leaf_datasets(config[f'{split}_dataloader']):
            leaf.pop('label_convention')
            leaf.metainfo = dict(bands=('nir', 'red', 'green', 'blue'))
    config.train_dataloader.dataset.pipeline.pop(2)  # the tiles are smaller than the crop
    return config


def test_times_are_measured_on_the_users_tiles(config):
    times = measure_times(config)
    assert times.iterations == 1
    assert 0 < times.iteration < 10
    assert times.validation > 0
    config.val_cfg = None
    assert measure_times(config).validation == 0


def test_compiled_steps_are_timed(config):
    built = []

    def backend(graph, inputs):
        built.append(graph)
        return graph.forward

    config.custom_hooks = [dict(type='CompileHook', backend=backend, mode=None)]
    times = measure_times(config)
    torch._dynamo.reset()
    assert len(built) == 1
    assert times.first > 5 * times.iteration  # with the compilation


def test_stages_of_a_search_are_refused(config):
    """Their architecture steps take time, too."""
    config.custom_hooks = [dict(type='ArchitectureSearchHook')]
    with pytest.raises(UserError, match='--hours does not measure the architecture steps'):
        fit_length(config, 1)


def test_weights_that_cannot_be_loaded_are_an_error_of_the_timing(config):
    config.model.backbone.init_cfg = dict(type='Pretrained', checkpoint='gone.pth')
    with pytest.raises(UserError, match=r'gone\.pth: no such file'):
        measure_times(config)


@pytest.mark.parametrize(
    ('hours', 'epochs', 'interval'),
    [(1.0, 339, 34), (0.1, 31, 5)],
)
def test_hours_become_epochs_and_validations(config, monkeypatch, hours, epochs, interval):
    """An epoch takes 10 s, a validation 5 s; of 10 validations a tenth of the time is kept."""
    times = TrainingTimes(0.1, 100, 20.0 if hours == 1 else 5.0)
    monkeypatch.setattr('dnas_mmseg.engine.length.measure_times', lambda config: times)
    config.train_cfg.update(max_epochs=60, val_interval=6)
    assert fit_length(config, hours) == times
    assert (config.train_cfg.max_epochs, config.train_cfg.val_interval) == (epochs, interval)
    spent = epochs * 10 + -(-epochs // interval) * times.validation
    assert 0.9 * 3600 * hours - 20 < spent <= 3600 * hours


def test_a_resumed_run_has_the_length_of_the_first(config, monkeypatch, tmp_path):
    times = TrainingTimes(0.1, 100, 5.0, start=1.0)
    assert times.epoch == 11.0
    monkeypatch.setattr('dnas_mmseg.engine.length.measure_times', lambda config: times)
    config.work_dir = str(tmp_path)
    again = copy.deepcopy(config)
    set_length(config, 1.0, resume=False)
    set_length(again, 1.0, resume=True)
    assert again.pretty_text == config.pretty_text
    assert again.default_hooks.checkpoint.min_seconds == 60
    with pytest.raises(UserError, match=r'--hours 2: .* was started with --hours 1: resume it'):
        set_length(again, 2.0, resume=True)


def test_too_little_time_is_refused(config, monkeypatch):
    times = TrainingTimes(1.0, 100, 5.0)
    monkeypatch.setattr('dnas_mmseg.engine.length.measure_times', lambda config: times)
    message = r'0.01 hours do not suffice for one epoch of 100 iterations: give at least 0.032'
    with pytest.raises(UserError, match=message):
        fit_length(config, 0.01)
    for hours in (0, -1, float('nan'), float('inf')):
        with pytest.raises(UserError, match='expected a positive number'):
            fit_length(config, hours)


def test_data_that_cannot_be_trained_on_are_refused_first(config):
    config.train_dataloader.batch_size = 1000
    config.train_dataloader.drop_last = True
    with pytest.raises(UserError, match='do not fill a batch of 1000'):
        measure_times(config)
    config.train_dataloader.update(batch_size=2)
    config.model.decode_head.num_classes = 3
    with pytest.raises(UserError, match='num_classes=3'):
        measure_times(config)


def test_shorten_scales_the_schedule():
    config = Config(
        dict(
            train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=60, val_interval=10, val_begin=2),
            param_scheduler=[
                dict(type='LinearLR', begin=0, end=150, by_epoch=False),
                dict(type='PolyLR', end=60, power=0.9),
                dict(type='MultiStepLR', milestones=[30, 45], gamma=0.1),
                dict(type='PolyLR', end=float('inf'), power=0.9),
            ],
        )
    )
    scale_schedule(config, 20)
    assert full_epochs(config) == 20
    assert config.train_cfg.to_dict() == dict(
        type='EpochBasedTrainLoop', max_epochs=20, val_interval=20
    )
    warm_up, decay, steps, endless = config.param_scheduler
    assert (warm_up['begin'], warm_up['end'], decay['end']) == (0, 50, 20)
    assert steps['milestones'] == [10, 15]
    assert endless['end'] == float('inf')


def test_an_exponential_decay_reaches_the_same_value():
    decay = dict(type='ExponentialLR', gamma=0.95)
    config = Config(dict(train_cfg=dict(max_epochs=100), param_scheduler=decay))
    scale_schedule(config, 5)
    assert config.param_scheduler.gamma**5 == pytest.approx(0.95**100)


def test_the_steps_of_a_one_cycle_schedule_are_scaled():
    cycle = dict(type='OneCycleLR', eta_max=0.1, total_steps=60, convert_to_iter_based=True)
    config = Config(dict(train_cfg=dict(max_epochs=60), param_scheduler=cycle))
    scale_schedule(config, 15)
    assert config.param_scheduler.total_steps == 15


def test_shorten_a_single_scheduler():
    config = Config(
        dict(
            train_cfg=dict(max_epochs=200),
            param_scheduler=dict(type='CosineAnnealingLR', T_max=200),
        )
    )
    scale_schedule(config, 20)
    assert config.param_scheduler.T_max == 20


SCHEDULES = {
    'warm-up of iterations': (
        [dict(type='LinearLR', start_factor=0.01, end=20, by_epoch=False)], 1.0
    ),
    'warm-up of epochs': ([dict(type='LinearLR', start_factor=0.1, end=5)], 1.0),
    'constant warm-up': ((dict(type='ConstantLR', factor=0.1, end=3),), 1.0),
    'two phases': (
        [
            dict(type='LinearLR', start_factor=0.1, end=5),
            dict(type='CosineAnnealingLR', begin=5, end=60, T_max=55),
        ],
        0.0,
    ),
    'decay at the end': ([dict(type='LinearLR', end_factor=0.5, begin=48, end=60)], 0.5),
    'without an end': ([dict(type='CosineAnnealingLR', begin=55, T_max=5)], 0.0),
    'a class': ([dict(type=LinearLR, start_factor=0.1, end=5)], 1.0),
    'single': (dict(type='mmengine.LinearLR', start_factor=0.1, end=5), 1.0),
    'steps': ([dict(type='MultiStepLR', milestones=[45, 55], gamma=0.1)], 0.01),
    'converted': (
        [dict(type='LinearLR', start_factor=0.1, end=3, convert_to_iter_based=True)], 1.0
    ),
}  # fmt: skip
"""Schedules of 60 epochs, with the last rate relative to the first."""


@pytest.mark.parametrize('epochs', [1, 2, 3, 9, 40])
@pytest.mark.parametrize(('schedule', 'end'), SCHEDULES.values(), ids=SCHEDULES)
def test_scaled_schedules_reach_the_full_rate_and_their_end(schedule, end, epochs):
    """No part of a few steps or epochs leaves the rate at its first value."""
    schedule = copy.deepcopy(schedule)
    config = Config(dict(train_cfg=dict(max_epochs=60), param_scheduler=schedule))
    scale_schedule(config, epochs)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    built = []
    schedulers = config.param_scheduler
    for settings in [schedulers] if isinstance(schedulers, dict) else schedulers:
        settings = {**settings, 'optimizer': optimizer}
        if settings.pop('convert_to_iter_based', False):
            settings['epoch_length'] = 8
            cls = PARAM_SCHEDULERS.get(settings.pop('type'))
            built.append(cls.build_iter_from_epoch(**settings))
        else:
            built.append(PARAM_SCHEDULERS.build(settings))
    rates = []
    for _ in range(epochs):
        for _ in range(8):
            rates.append(optimizer.param_groups[0]['lr'])
            for scheduler in built:
                if not scheduler.by_epoch:
                    scheduler.step()
        for scheduler in built:
            if scheduler.by_epoch:
                scheduler.step()
    assert max(rates) == pytest.approx(1.0)
    if epochs == 40:
        last = optimizer.param_groups[0]['lr']
        assert last == pytest.approx(end, abs=0.03)


def test_error_for_a_schedule_in_iterations():
    with pytest.raises(UserError, match='EpochBasedTrainLoop'):
        full_epochs(Config(dict(train_cfg=dict(type='IterBasedTrainLoop', max_iters=100))))
