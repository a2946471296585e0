import json

import pytest
from mmengine.config import Config

from dnas_mmseg.engine.length import full_epochs, scale_schedule
from dnas_mmseg.errors import UserError
from dnas_mmseg.search.halving.schedule import Pace, whole_epochs


def test_pace_is_a_linear_fit():
    pace = Pace.fit([1e9, 2e9, 4e9], [0.02, 0.03, 0.05], typical=2e9, baselines={'hrnet': 0.06})
    assert pace.fixed == pytest.approx(0.01)
    assert pace.per_mac == pytest.approx(1e-11)
    assert pace.seconds(3e9) == pytest.approx(0.04)
    assert Pace(**pace.to_document()) == pace


@pytest.mark.parametrize('seconds', [[0.05, 0.03, 0.02], [0.001, 0.03, 0.2]])
def test_pace_has_no_negative_part(seconds):
    pace = Pace.fit([1e9, 2e9, 4e9], seconds, typical=2e9, baselines={})
    assert pace.fixed >= 0
    assert pace.per_mac >= 0
    assert pace.seconds(1e8) > 0


def test_epochs_of_a_rung_cost_the_same():
    pace = Pace(fixed=0.0, per_mac=1e-11, typical=2e9)
    assert pace.epochs(pace.seconds(2e9), 60, 1.0) == 60
    assert pace.epochs(pace.seconds(4e9), 60, 1.0) == 30
    assert pace.epochs(pace.seconds(1.5e9), 60, 1.0) == 80
    assert pace.epochs(pace.seconds(2e9), 60, 1 / 9) == 7
    # At most twice the epochs of the schedule, and at least one.
    assert pace.epochs(pace.seconds(1e7), 60, 1.0) == 120
    assert pace.epochs(pace.seconds(1e12), 60, 1 / 9) == 1


def test_rungs_are_whole_epochs():
    assert whole_epochs((1 / 9, 1.0), 18) == (1 / 9, 1.0)
    assert whole_epochs((1 / 9, 1 / 3, 1.0), 24) == (3 / 24, 8 / 24, 1.0)
    assert whole_epochs((1 / 9, 1.0), 5) == (1 / 5, 1.0)
    with pytest.raises(UserError, match=r'rungs 0\.111, 0\.333, 1 of 4 epochs are 1, 1, 4 epochs'):
        whole_epochs((1 / 9, 1 / 3, 1.0), 4)
    with pytest.raises(UserError, match='the numbers must increase'):
        whole_epochs((1 / 9, 1.0), 1)


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


def test_shorten_a_single_scheduler():
    config = Config(
        dict(
            train_cfg=dict(max_epochs=200),
            param_scheduler=dict(type='CosineAnnealingLR', T_max=200),
        )
    )
    scale_schedule(config, 20)
    assert config.param_scheduler.T_max == 20


def test_error_for_a_schedule_in_iterations():
    with pytest.raises(UserError, match='EpochBasedTrainLoop'):
        full_epochs(Config(dict(train_cfg=dict(type='IterBasedTrainLoop', max_iters=100))))


def test_load_pace(tmp_path):
    pace = Pace(0.01, 1e-11, 1e9, {'hrnet': 0.5})
    (tmp_path / 'pace.json').write_text(json.dumps(pace.to_document()))
    assert Pace.load(tmp_path / 'pace.json') == pace
    for text in (
        '{"fixed": 1}',
        '[]',
        '{"fixed": "x", "per_mac": 1, "typical": 1, "baselines": {}}',
    ):
        (tmp_path / 'other.json').write_text(text)
        with pytest.raises(UserError, match=r'other\.json is not a pace\.json of a selection'):
            Pace.load(tmp_path / 'other.json')
