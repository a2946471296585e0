"""Visualizer backends that are added to a config."""

import pytest
from mmengine.config import Config

from dnas_mmseg.engine.config_checks import LOGGING_BACKENDS, log_to
from dnas_mmseg.errors import UserError


def kinds(config):
    return [backend['type'] for backend in config.visualizer.vis_backends]


@pytest.fixture(autouse=True)
def _installed(monkeypatch):
    monkeypatch.setattr('dnas_mmseg.engine.config_checks.find_spec', lambda name: name)


def test_backends_are_added_once():
    own = dict(type='WandbVisBackend', init_kwargs=dict(project='mine'))
    config = Config(dict(visualizer=dict(type='SegLocalVisualizer', vis_backends=[own])))
    log_to(config, ['tensorboard', 'wandb', 'tensorboard', 'mlflow'])
    assert kinds(config) == ['WandbVisBackend', 'TensorboardVisBackend', 'MLflowVisBackend']
    assert config.visualizer.vis_backends[0] == own
    assert config.visualizer.type == 'SegLocalVisualizer'


@pytest.mark.parametrize('settings', [{}, dict(visualizer=None)])
def test_configs_without_a_visualizer(settings):
    config = Config(settings)
    log_to(config, ['clearml'])
    assert kinds(config) == ['LocalVisBackend', 'ClearMLVisBackend']


@pytest.mark.parametrize('name', ['mlflow', 'wandb'])
def test_missing_packages_are_named(name, monkeypatch):
    monkeypatch.setattr('dnas_mmseg.engine.config_checks.find_spec', lambda name: None)
    with pytest.raises(UserError) as error:
        log_to(Config({}), [name])
    assert f'{LOGGING_BACKENDS[name]} requires {name}' in str(error.value)
    assert f'pip install {name}' in str(error.value)
    assert '\n' not in str(error.value)


def test_unknown_names_are_refused():
    with pytest.raises(UserError, match=r'--log-to tb: no such backend; choose among .*mlflow'):
        log_to(Config({}), ['tb'])
