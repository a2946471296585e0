"""The configs of a search's stages."""

import pytest
from mmengine.config import Config

from dnas_mmseg.apis import SearchPlan
from dnas_mmseg.engine.configs import inheriting_text
from dnas_mmseg.search.network_config import network_config
from dnas_mmseg.search.stages import retrain_config, stage_config


def plans():
    yield 'dnas', dict(layers=6, epochs=3, crop=64, batch=2, base_channels=8, patience=2)
    yield 'dnas', dict(targets=(1e9, 2e9), halves=('a.txt', 'b.txt'), recompute=True)
    yield 'autodeeplab', dict(options={'model.data_preprocessor.size': (512, 512)}, crop=32)
    yield 'densenas', dict(search_options={'train_dataloader.dataset.pipeline.2.prob': 0.1})


@pytest.mark.parametrize(('space', 'settings'), plans())
def test_a_file_that_says_what_differs_is_the_whole_config(space, settings, tmp_path):
    plan = SearchPlan(space, **settings)
    network = network_config(plan)
    (tmp_path / 'network.py').write_text(network.pretty_text)
    for level in plan.levels:
        start = (
            None
            if level == plan.levels[0]
            else 'dnas_l14_gid5@' + ('path' if level == 'connection' else 'connection')
        )
        wanted = stage_config(plan, level, start)
        text = inheriting_text('network.py', network, wanted)
        (tmp_path / 'stage.py').write_text(text)
        read = Config.fromfile(str(tmp_path / 'stage.py'))
        assert read.to_dict() == Config.fromstring(wanted.pretty_text, '.py').to_dict()
        # What a stage leaves alone, it does not repeat.
        assert 'test_dataloader' not in text
        assert 'visualizer' not in text


def test_retraining_changes_the_architecture_alone(tmp_path):
    plan = SearchPlan('dnas', options={'model.backbone.init_cfg': dict(type='Pretrained')})
    text = inheriting_text('network.py', network_config(plan), retrain_config(plan, 'found.json'))
    assert text.splitlines() == [
        "_base_ = 'network.py'",
        "model = dict(backbone=dict(architecture='found.json', init_cfg=None))",
    ]


@pytest.mark.parametrize(
    ('base', 'wanted'),
    [
        ({'a': {'type': 'A', 'x': 1}}, {'a': {'type': 'A', 'x': 2, 'y': 3}}),
        ({'a': {'type': 'A', 'x': 1}}, {'a': {'type': 'B', 'y': 3}}),
        ({'a': {'x': 1, 'y': 2}}, {'a': {'x': 1}}),
        ({'a': [1, 2]}, {'a': {'x': 1}}),
        ({'a': {'x': 1}}, {'a': [dict(x=1)]}),
        ({'a': {'x': 1}}, {'a': None}),
        ({'a': None}, {'a': {'x': (1, 2)}, 'b': {'c': {'d': True}}}),
        ({'a': {'b': {'c': {'d': 1, 'e': 2}}}}, {'a': {'b': {'c': {'d': True, 'e': 2}}}}),
        ({'a': 1, 'b': [dict(x=1)]}, {'a': 1, 'b': [dict(x=1), dict(x=2)]}),
    ],
)
def test_any_change_can_be_said(base, wanted, tmp_path):
    (tmp_path / 'base.py').write_text(Config(base).pretty_text)
    (tmp_path / 'config.py').write_text(inheriting_text('base.py', base, wanted))
    read = Config.fromfile(str(tmp_path / 'config.py')).to_dict()
    assert read == wanted
    assert repr(sorted(read.items())) == repr(sorted(wanted.items()))


@pytest.mark.parametrize('space', ['dnas', 'autodeeplab', 'densenas'])
def test_the_recipe_is_of_retraining_alone(space):
    plan = SearchPlan(space)
    (level, *_) = plan.levels
    stage, retraining = stage_config(plan, level, None), retrain_config(plan, 'found.json')
    assert stage.optim_wrapper.optimizer.type == 'SGD'
    assert [hook['type'] for hook in stage.custom_hooks].count('EMAHook') == 0
    assert retraining.optim_wrapper.optimizer.type == 'AdamW'
    assert [hook['type'] for hook in retraining.custom_hooks] == ['EMAHook']
    # Each rate is meant for a batch of its own schedule.
    assert stage.auto_scale_lr.base_batch_size == 2
    assert retraining.auto_scale_lr.base_batch_size == 4
    # What is searched and what is trained learn from the same losses.
    assert [loss.type for loss in stage.model.decode_head.loss_decode] == [
        'LabelledCrossEntropyLoss',
        'LabelledDiceLoss',
    ]
