"""Loading of configs with overrides."""

from pathlib import Path

import pytest
from mmengine.config import Config

from dnas_mmseg.apis import SearchPlan, search
from dnas_mmseg.datasets.configs import leaf_datasets
from dnas_mmseg.engine.configs import format_inheriting_config, load_config
from dnas_mmseg.errors import UserError

from ..conftest import ROOT

CONFIG = ROOT / 'configs/dnas/dnas_l12_gid5.py'


def test_missing_configs_raise_user_errors(tmp_path):
    with pytest.raises(UserError, match=r'none\.py: no such config'):
        load_config(tmp_path / 'none.py')
    with pytest.raises(UserError, match=r'none\.py: no such config'):
        search(SearchPlan(config=str(tmp_path / 'none.py')), tmp_path / 'run', dry_run=True)


def test_configs_of_packages_are_loaded_by_name(tmp_path):
    config = load_config('dnas_mmseg::dnas/dnas_l12_gid5.py')
    assert config.model == load_config(CONFIG).model
    assert config.work_dir == 'work_dirs/dnas_l12_gid5'
    assert Path(config.filename).name == 'dnas_l12_gid5.py'  # name of the copy in the work dir
    (tmp_path / 'mine.py').write_text("_base_ = 'dnas_mmseg::dnas/dnas_l12_gid5.py'\n")
    assert '_scope_' in Config.fromfile(str(tmp_path / 'mine.py')).pretty_text
    mine = load_config(tmp_path / 'mine.py', work_dir=config.work_dir)
    assert mine.pretty_text == config.pretty_text
    stock = load_config('mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py')
    assert stock.model.backbone.type == 'ResNetV1c'


@pytest.mark.parametrize(
    ('name', 'error'),
    [
        ('dnas_mmseg::dnas/none.py', r'dnas/none\.py: no such config in .*configs'),
        (
            'dnas_mmseg::dnas/dnas_l12_gid.py',
            r'did you mean dnas_mmseg::dnas/dnas_l12_gid\d+\.py\?',
        ),
        ('mmsegg::fcn/fcn.py', 'package mmsegg is not installed'),
        ('mm.seg::fcn/fcn.py', r'package mm\.seg is not installed'),
        ('configs/dnas/dnas_l12_gid5.py', r'package: dnas_mmseg::dnas/dnas_l12_gid5\.py'),
    ],
)
def test_similar_configs_are_suggested(name, error, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=error):
        load_config(name)


def test_unknown_overrides_are_warned_about(capsys):
    config = load_config(CONFIG, options={'trian_cfg.max_epochs': 1, 'frobnicate': 2})
    assert config.trian_cfg.max_epochs == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("warning: --cfg-options trian_cfg.max_epochs: the config has no 'trian")
    assert '(did you mean train_cfg?)' in first
    assert 'did you mean' not in second


def test_overrides_of_variables_are_warned_about(capsys):
    load_config(CONFIG, options={'data_root': 'elsewhere'})
    (line,) = capsys.readouterr().err.splitlines()
    assert "'data_root' is a variable of the config file, so the override has no effect" in line


def test_settings_of_the_runner_are_known(capsys):
    known = (
        'randomness.seed', 'load_from', 'auto_scale_lr.enable', 'find_unused_parameters',
        'work_dir', 'resume', 'supernet.blocks', 'model_wrapper_cfg.type', 'compile', 'sync_bn',
        'experiment_name', 'model.backbone.with_cp', 'custom_hooks', 'env_cfg.cudnn_benchmark',
    )  # fmt: skip
    load_config(CONFIG, options=dict.fromkeys(known, 1))
    assert capsys.readouterr().err == ''


def test_data_root_replaces_that_of_wrapped_data_sets(data_root, tmp_path):
    (tmp_path / 'config.py').write_text(
        f"_base_ = '{CONFIG}'\n"
        "part = dict(type='GID5Dataset', data_root='elsewhere')\n"
        "repeated = dict(type='RepeatDataset', times=2, dataset=part)\n"
        "train_dataloader = dict(dataset=dict(_delete_=True, type='ConcatDataset', "
        'datasets=[part, repeated]))\n'
    )
    config = load_config(tmp_path / 'config.py', data_root=data_root)
    for split, count in (('train', 2), ('val', 1), ('test', 1)):
        leaves = list(leaf_datasets(config[f'{split}_dataloader']))
        assert [leaf['data_root'] for leaf in leaves] == [str(data_root)] * count
    assert list(leaf_datasets(None)) == []
    with pytest.raises(UserError, match=r'--data-root .*nowhere: no such folder'):
        load_config(CONFIG, data_root=tmp_path / 'nowhere')


def test_default_and_overridden_work_dir(tmp_path):
    assert load_config(CONFIG).work_dir == 'work_dirs/dnas_l12_gid5'
    assert load_config(CONFIG, work_dir=tmp_path).work_dir == str(tmp_path)
    (tmp_path / 'own.py').write_text(f"_base_ = '{CONFIG}'\nwork_dir = 'mine'\n")
    assert load_config(tmp_path / 'own.py').work_dir == 'mine'


def test_invalid_overrides_are_refused():
    with pytest.raises(UserError, match=r'--cfg-options: .*max_epochs'):
        load_config(CONFIG, options={'train_cfg.max_epochs.x': 1})


def test_overrides_of_lists_require_an_index(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text(
        f"_base_ = '{CONFIG}'\n"
        "param_scheduler = [dict(type='LinearLR'), dict(type='CosineAnnealingLR', T_max=9)]\n"
    )
    for key, form in (
        ('param_scheduler.T_max', r'param_scheduler\.1\.T_max=\.\.\.'),
        ('param_scheduler.gamma', r'param_scheduler\.0\.gamma=\.\.\.'),
        ('train_dataloader.dataset.pipeline.type', r'pipeline\.0\.type=\.\.\.'),
    ):
        with pytest.raises(UserError, match=f'^--cfg-options {key}: .* is a list of .*{form}'):
            load_config(path, options={key: 1})
    config = load_config(path, options={'param_scheduler.1.T_max': 5})
    assert [scheduler.get('T_max') for scheduler in config.param_scheduler] == [None, 5]
    with pytest.raises(UserError, match='--cfg-options: Index 2 exceeds the length'):
        load_config(path, options={'param_scheduler.2.T_max': 5})
    replaced = {'param_scheduler._delete_': True, 'param_scheduler.type': 'PolyLR'}
    assert load_config(path, options=replaced).param_scheduler == dict(type='PolyLR')


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
def test_configs_with_any_difference_are_inherited(base, wanted, tmp_path):
    (tmp_path / 'base.py').write_text(Config(base).pretty_text)
    (tmp_path / 'config.py').write_text(format_inheriting_config('base.py', base, wanted))
    read = Config.fromfile(str(tmp_path / 'config.py')).to_dict()
    assert read == wanted
    assert repr(sorted(read.items())) == repr(sorted(wanted.items()))


@pytest.mark.parametrize('losses', ["dict(type='X')", "{'0': dict(type='X')}"])
def test_overrides_of_another_type_than_their_base_are_refused(tmp_path, losses):
    base = ROOT / 'configs/dnas/dnas_l12_w16_naip.py'  # has a list of losses
    (tmp_path / 'mine.py').write_text(
        f"_base_ = '{base}'\nmodel = dict(decode_head=dict(loss_decode={losses}))\n"
    )
    with pytest.raises(UserError, match=r'mine\.py or a base config: loss_decode=.*inherit'):
        load_config(tmp_path / 'mine.py')
