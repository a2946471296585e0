"""Compatibility with both distributions of mmseg."""

import logging
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

import mmengine.logging
import mmengine.utils.package_utils as packages
import pytest
from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.hub import get_config
from mmseg.models.backbones.timm_backbone import TIMMBackbone
from mmseg.registry import MODELS

from dnas_mmseg.stacks import inherit_configs, quiet_imports

from .conftest import import_timm

BASE = 'mmseg::_base_/schedules/schedule_20k.py'


def test_a_config_inherits_from_mmseg(tmp_path):
    (tmp_path / 'mine.py').write_text(f"_base_ = '{BASE}'\ntrain_cfg = dict(max_iters=7)\n")
    config = Config.fromfile(str(tmp_path / 'mine.py'))
    assert config.train_cfg.max_iters == 7
    assert config.train_cfg.type == 'IterBasedTrainLoop'


def test_reading_a_packaged_config_installs_nothing(monkeypatch):
    calls = []
    monkeypatch.setattr(packages, 'call_command', calls.append)
    assert get_config('dnas_mmseg::dnas/dnas_l12_gid5.py').model
    assert get_config('mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py').model
    assert not calls


def test_a_config_inherits_from_this_package(tmp_path):
    (tmp_path / 'mine.py').write_text(
        "_base_ = 'dnas_mmseg::dnas/dnas_l12_gid5.py'\ntrain_cfg = dict(max_epochs=7)\n"
    )
    config = Config.fromfile(str(tmp_path / 'mine.py'))
    assert config.train_cfg.max_epochs == 7
    assert config.model.backbone.type == 'DNAS'


@pytest.mark.parametrize(
    ('installed', 'served'),
    [
        ({'onedl-mmsegmentation'}, 'onedl-mmsegmentation'),
        ({'mmsegmentation'}, 'mmsegmentation'),
        ({'mmsegmentation', 'onedl-mmsegmentation'}, 'mmsegmentation'),
        (set(), 'mmsegmentation'),
    ],
)
def test_mmseg_is_remapped_only_on_the_onedl_stack(monkeypatch, installed, served):
    def fake_version(name):
        if name not in installed:
            raise PackageNotFoundError(name)
        return '0'

    monkeypatch.setattr('dnas_mmseg.stacks.version', fake_version)
    monkeypatch.setitem(MODULE2PACKAGE, 'mmseg', 'mmsegmentation')
    inherit_configs()
    assert MODULE2PACKAGE['mmseg'] == served


def test_the_expected_stack_is_installed():
    version(MODULE2PACKAGE['mmseg'])


def test_importing_prints_nothing_and_is_fast():
    """Packages that few commands need are imported when they are used."""
    program = (
        'import sys, dnas_mmseg\n'
        "slow = {'matplotlib', 'optuna', 'scipy.stats', 'sklearn', 'timm', 'torchvision'}\n"
        'print(sorted(slow & set(sys.modules)))'
    )
    finished = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert finished.stdout == '[]\n', finished.stderr
    assert 'Fail to import' not in finished.stderr


def test_backbones_of_mmseg_import_timm_when_they_are_built():
    import_timm()
    config = dict(type='TIMMBackbone', model_name='resnet18', pretrained=False)
    assert isinstance(MODELS.build(config), TIMMBackbone)


def test_only_debug_messages_are_suppressed(capsys):
    with quiet_imports():
        mmengine.logging.print_log('a detail', level=logging.DEBUG)
        mmengine.logging.print_log('a fault', level=logging.ERROR)
        print('something else')
    mmengine.logging.print_log('afterwards', level=logging.DEBUG)
    assert capsys.readouterr().out.splitlines() == ['a fault', 'something else', 'afterwards']
