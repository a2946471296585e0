"""Initialisation of the process group with a single process."""

import pytest
import torch
from mmengine.config import Config
from mmengine.dist import is_distributed

from dnas_mmseg.engine.distributed import set_launcher


@pytest.fixture
def alone(monkeypatch):
    """The environment of a launcher that started one process."""
    variables = dict(RANK=0, WORLD_SIZE=1, LOCAL_RANK=0, MASTER_ADDR='127.0.0.1', MASTER_PORT=0)
    for key, value in variables.items():
        monkeypatch.setenv(key, str(value))
    yield
    if is_distributed():
        torch.distributed.destroy_process_group()


def test_no_process_group_without_a_launcher(alone):
    config = Config()
    set_launcher(config, 'none')
    assert config.to_dict() == {'launcher': 'none'}
    assert not is_distributed()


@pytest.mark.parametrize('unused', [False, True])
def test_gloo_without_a_gpu(alone, unused):
    config = Config(dict(find_unused_parameters=True) if unused else {})
    set_launcher(config, 'pytorch')
    assert is_distributed()
    assert torch.distributed.get_backend() == 'gloo'
    assert config.launcher == 'pytorch'
    assert config.model_wrapper_cfg.device_ids is None
    assert config.model_wrapper_cfg.find_unused_parameters is unused
    # The group is initialised only once, and the config's own wrapper does not change.
    own = Config(dict(model_wrapper_cfg=dict(type='MMDistributedDataParallel')))
    set_launcher(own, 'pytorch')
    assert own.model_wrapper_cfg == dict(type='MMDistributedDataParallel')
