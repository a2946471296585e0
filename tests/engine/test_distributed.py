"""The process group, with a single process."""

import pytest
import torch
from mmengine.config import Config
from mmengine.dist import is_distributed

from dnas_mmseg.engine.distributed import average_buffers, set_launcher


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


def test_stored_buffers_are_averaged(alone, monkeypatch):
    """The other process has statistics three times as large; equal ones do not change."""
    norm = torch.nn.BatchNorm2d(2)
    norm.register_buffer('derived', torch.ones(2), persistent=False)
    norm.running_mean.fill_(0.1)
    monkeypatch.setattr('dnas_mmseg.engine.distributed.get_world_size', lambda: 2)
    monkeypatch.setattr(
        'dnas_mmseg.engine.distributed.all_reduce', lambda data, op: data.add_(3 * data).div_(2)
    )
    average_buffers(norm)
    assert torch.equal(norm.running_mean, torch.full((2,), 0.1) * 2)
    assert torch.equal(norm.running_var, torch.full((2,), 2.0))
    assert torch.equal(norm.derived, torch.ones(2))
    assert norm.num_batches_tracked == 0
    average_buffers(torch.nn.Linear(1, 1))
