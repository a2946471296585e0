"""Comparison of models, as by `dnas compare`."""

import pytest
from mmengine.config import Config
from mmengine.runner import save_checkpoint
from mmseg.registry import MODELS

from dnas_mmseg.comparison.measuring import Entry, compare
from dnas_mmseg.engine.checkpoints import CheckpointError
from dnas_mmseg.errors import UserError

from ..conftest import ROOT


def test_costs_are_reported_without_a_test_set(configs, tmp_path):
    config = Config.fromfile(str(configs['ours']))
    config.test_dataloader.dataset.data_root = str(tmp_path / 'nowhere')
    save_checkpoint(
        dict(state_dict=MODELS.build(config.model).state_dict()), str(tmp_path / 'm.pth')
    )
    (result,) = compare(
        [Entry('ours', config, str(tmp_path / 'm.pth'))],
        size=(64, 64), repeat=1, training=False, out_dir=str(tmp_path),
    )  # fmt: skip
    assert result.cost.macs > 0
    assert result.latency
    assert 'not tested: ' in result.notes[0]
    assert 'nowhere: no such folder' in result.notes[0]


def test_auxiliary_heads_are_trained_but_not_counted(tmp_path):
    config = Config.fromfile(str(ROOT / 'configs/pspnet/pspnet_r18-d8_gid5.py'))
    model = MODELS.build(config.model)
    save_checkpoint(dict(state_dict=model.state_dict()), str(tmp_path / 'm.pth'))
    whole = sum(p.numel() for p in model.parameters())
    auxiliary = sum(p.numel() for p in model.auxiliary_head.parameters())
    config.test_dataloader = None
    (result,) = compare(
        [Entry('psp', config, str(tmp_path / 'm.pth'))], size=(64, 64), repeat=1,
        out_dir=str(tmp_path),
    )  # fmt: skip
    assert result.cost.parameters == whole - auxiliary
    assert 'auxiliary_head' in config.model
    assert result.step
    assert result.notes[0].startswith('not tested: ')


def test_invalid_entries_raise_errors(configs, tmp_path):
    ours, stock = (Config.fromfile(str(configs[name])) for name in ('ours', 'stock'))
    with pytest.raises(UserError, match='must be unique'):
        compare([Entry('a', ours), Entry('a', stock)])
    save_checkpoint(
        dict(state_dict=MODELS.build(stock.model).state_dict()), str(tmp_path / 'm.pth')
    )
    with pytest.raises(CheckpointError, match=r'm\.pth does not fit the model'):
        compare([Entry('a', ours, str(tmp_path / 'm.pth'))], size=(64, 64))
