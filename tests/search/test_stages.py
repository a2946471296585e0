import pytest
from mmengine.config import Config

from dnas_mmseg.apis import SearchPlan
from dnas_mmseg.engine.configs import format_inheriting_config
from dnas_mmseg.errors import UserError
from dnas_mmseg.runs.network import network_config
from dnas_mmseg.search.stages import (
    multi_target_mode,
    retrain_config,
    search_hook,
    stage_config,
)


def plans():
    yield 'dnas', dict(layers=6, epochs=3, crop=64, batch=2, base_channels=8, patience=2)
    yield 'dnas', dict(targets=(1e9, 2e9), halves=('a.txt', 'b.txt'), recompute=True)
    yield 'autodeeplab', dict(options={'model.data_preprocessor.size': (512, 512)}, crop=32)
    yield 'densenas', dict(search_options={'train_dataloader.dataset.pipeline.2.prob': 0.1})


@pytest.mark.parametrize(('space', 'settings'), plans())
def test_inheriting_text_restores_the_config(space, settings, tmp_path):
    plan = SearchPlan(space, **settings)
    network = network_config(plan)
    (tmp_path / 'network.py').write_text(network.pretty_text)
    for level in plan.levels:
        start = (
            None
            if level == plan.levels[0]
            else 'dnas_l14_gid5@' + ('path' if level == 'connection' else 'connection')
        )
        expected = stage_config(plan, level, start)
        text = format_inheriting_config('network.py', network, expected)
        (tmp_path / 'stage.py').write_text(text)
        read = Config.fromfile(str(tmp_path / 'stage.py'))
        assert read.to_dict() == Config.fromstring(expected.pretty_text, '.py').to_dict()
        # The file does not repeat equal settings.
        assert 'test_dataloader' not in text
        assert 'visualizer' not in text


def test_multi_target_mode_without_the_previous_stage():
    """Each network may use the whole supernet."""
    targets = dict(targets=(1e9, 2e9))
    whole = SearchPlan('dnas', **targets)
    assert [multi_target_mode(whole, level).value for level in whole.levels] == [
        'shared',
        'joined',
        'within',
    ]
    last = SearchPlan('dnas', levels=('cell',), architecture='dnas_l14_gid5@connection', **targets)
    hook = search_hook(stage_config(last, 'cell', 'dnas_l14_gid5@connection'))
    assert hook['cost']['several'] == 'separate'


def test_retrain_config_overrides_only_architecture_and_weights():
    weights = {
        f'model.{part}': dict(type='Pretrained') for part in ('init_cfg', 'backbone.init_cfg')
    }
    plan = SearchPlan('dnas', options=weights)
    text = format_inheriting_config(
        'network.py', network_config(plan), retrain_config(plan, 'found.json')
    )
    assert text.splitlines() == [
        "_base_ = 'network.py'",
        'model = dict(',
        "    backbone=dict(architecture='found.json', init_cfg=None), init_cfg=None)",
    ]


@pytest.mark.parametrize('space', ['dnas', 'autodeeplab', 'densenas'])
def test_stages_do_not_use_the_recipe_of_retraining(space):
    plan = SearchPlan(space)
    (level, *_) = plan.levels
    stage, retraining = stage_config(plan, level, None), retrain_config(plan, 'found.json')
    assert stage.optim_wrapper.optimizer.type == 'SGD'
    assert [hook['type'] for hook in stage.custom_hooks].count('EMAHook') == 0
    assert retraining.optim_wrapper.optimizer.type == 'AdamW'
    assert [hook['type'] for hook in retraining.custom_hooks] == ['EMAHook']
    # Each learning rate refers to the batch size of its own recipe.
    assert stage.auto_scale_lr.base_batch_size == 2
    assert retraining.auto_scale_lr.base_batch_size == 4
    # The losses are those of retraining.
    assert [loss.type for loss in stage.model.decode_head.loss_decode] == [
        'LabelledCrossEntropyLoss',
        'LabelledDiceLoss',
    ]


def test_stage_config(plan, tmp_path):
    changed = SearchPlan(**{**plan.__dict__, 'base_channels': 6, 'recompute': True})
    config = stage_config(changed, 'cell', 'dnas_l12_gid5@connection')
    assert config.model.backbone == dict(
        type='DNASCellSupernet', architecture='dnas_l12_gid5@connection', in_channels=4,
        base_channels=6, with_cp=True,
    )  # fmt: skip
    assert config.model.decode_head.channels == 8
    assert config.val_dataloader is None
    crops = [step for step in config.train_dataloader.dataset.pipeline if 'crop_size' in step]
    assert [step.crop_size for step in crops] == [(32, 32)]


def test_settings_taken_from_the_users_config(plan, tiny, tmp_path):
    with tiny[1].open('a') as file:
        file.write("load_from = 'x.pth'\n")
        file.write("default_hooks['sampler_seed'] = dict(type='DistSamplerSeedHook')\n")
        file.write('optim_wrapper = dict(optimizer=dict(lr=7.0))\n')
    changes = dict(seed=3, search_options={'optim_wrapper.optimizer.momentum': 0.5}, patience=4)
    config = stage_config(SearchPlan(**{**plan.__dict__, **changes}), 'path', None)
    assert config.load_from is None
    assert config.default_hooks.sampler_seed.type == 'EpochSeedHook'
    assert config.default_hooks.logger.interval == 1
    assert (config.optim_wrapper.optimizer.lr, config.optim_wrapper.optimizer.momentum) == (
        0.025,
        0.5,
    )
    assert config.train_dataloader.sampler.split_seed == 3
    assert search_hook(config)['patience'] == 4
    retraining = retrain_config(plan, 'dnas_l12_gid5')
    assert retraining.optim_wrapper.optimizer.lr == 7.0
    assert retraining.load_from == 'x.pth'


def test_crops_and_halves_of_wrapped_data_sets(plan, tiny):
    with tiny[1].open('a') as file:
        file.write(
            "train_dataloader = dict(dataset=dict(_delete_=True, type='ConcatDataset', "
            "datasets=[dict(type='GID5Dataset', data_root=data_root, ann_file=name, pipeline=["
            "dict(type='LoadRasterFromFile'), dict(type='LoadRasterAnnotations'), "
            "dict(type='PackSegInputs')]) for name in ('train.txt', 'val.txt')]))\n"
        )
    config = stage_config(plan, 'path', None)
    for leaf in config.train_dataloader.dataset.datasets:
        assert [step['type'] for step in leaf.pipeline][1:3] == [
            'LoadRasterAnnotations',
            'RandomCrop',
        ]
    with pytest.raises(UserError, match='require a plain training set'):
        stage_config(SearchPlan(**{**plan.__dict__, 'halves': ('a.txt', 'b.txt')}), 'path', None)


STARTS = {'path': None, 'connection': 'dnas_l12_gid5@path', 'cell': 'dnas_l12_gid5@connection'}


@pytest.mark.parametrize('place', ['config', 'search options'])
def test_stages_get_the_supernet_arguments_that_they_accept(plan, place):
    arguments = {'weighting': 'reference', 'layers': 6, 'norm_cfg.eps': 1e-4}
    if place == 'config':
        changes = {'options': {f'supernet.{name}': value for name, value in arguments.items()}}
    else:
        changes = {'search_options': {f'model.backbone.{k}': v for k, v in arguments.items()}}
    plan = SearchPlan(**{**plan.__dict__, 'layers': None, **changes})
    backbones = {
        level: stage_config(plan, level, start).model.backbone for level, start in STARTS.items()
    }
    assert {level: (b.get('layers'), b.get('weighting')) for level, b in backbones.items()} == {
        'path': (6, None),
        'connection': (None, 'reference'),
        'cell': (None, None),
    }
    assert [backbone.norm_cfg.eps for backbone in backbones.values()] == [1e-4] * 3


def test_unknown_supernet_arguments_are_refused(plan):
    wrong = [
        ({'options': {'supernet.weightin': 'gate'}}, 'supernet.weightin'),
        ({'search_options': {'model.backbone.weightin': 1}}, '--search-options model.backbone.wei'),
    ]
    for changes, source in wrong:
        message = rf'^{source}.*no supernet of space dnas has .*\(did you mean weighting\?\)'
        with pytest.raises(UserError, match=message):
            stage_config(SearchPlan(**{**plan.__dict__, **changes}), 'path', None)


@pytest.mark.parametrize('setting', ['options', 'search_options'])
def test_overrides_of_another_type_are_refused(plan, setting):
    wrong = SearchPlan(**{**plan.__dict__, setting: {'train_cfg.max_epochs.x': 1}})
    option = {'options': '--cfg-options', 'search_options': '--search-options'}[setting]
    with pytest.raises(UserError, match=f'^{option}: .*max_epochs'):
        stage_config(wrong, 'path', None)


def test_hooks_of_the_users_config_may_be_none(plan, tiny):
    with tiny[1].open('a') as file:
        file.write('custom_hooks = None\ndefault_hooks = None\nsupernet = None\n')
    config = stage_config(plan, 'path', None)
    assert [hook['type'] for hook in config.custom_hooks] == ['ArchitectureSearchHook']
    assert config.default_hooks.checkpoint.type == 'AtomicCheckpointHook'
    assert config.default_hooks.logger.type == 'LoggerHook'
