"""Largest batch that fits into memory."""

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner

from dnas_mmseg.engine.batch_size import (
    find_batch_size,
    fits_into_memory,
    set_largest_batch,
    take_steps,
)
from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.errors import UserError

from ..conftest import ROOT, make_data_root


@pytest.fixture
def config(tmp_path):
    root = make_data_root(tmp_path / 'data', count=11)  # 9 for training
    options = {
        'model.backbone.base_channels': 2,
        'model.decode_head.channels': 8,
        'train_dataloader.num_workers': 0,
    }
    return load_config(ROOT / 'configs/dnas/dnas_l12_gid5.py', data_root=root, options=options)


@pytest.mark.parametrize(
    ('memory', 'limit', 'size'), [(1, 64, 0), (2, 64, 2), (31, 64, 16), (99, 9, 8)]
)
def test_sizes_are_doubled_until_one_does_not_fit(memory, limit, size):
    tried = []

    def fits(number):
        tried.append(number)
        return number <= memory

    assert find_batch_size(fits, limit) == size
    assert tried == [2**i for i in range(1, len(tried) + 1)]
    assert max(tried) <= limit


def test_the_batch_is_limited_by_memory_and_by_the_tiles(config):
    assert set_largest_batch(config, lambda config, size: size * 10 <= 45) == 4
    assert config.train_dataloader.batch_size == 4
    assert set_largest_batch(config, lambda config, size: True) == 8
    assert Runner.build_dataloader(config.train_dataloader).batch_size == 8
    with pytest.raises(UserError, match='two of the 9 training tiles does not fit'):
        set_largest_batch(config, lambda config, size: False)


def test_running_out_of_memory_ends_the_search(config, monkeypatch):
    """The trials run in a part of the memory, and free it."""
    calls = []
    for name in ('set_per_process_memory_fraction', 'empty_cache'):
        monkeypatch.setattr(torch.cuda, name, lambda *args, name=name: calls.append((name, *args)))

    def take(config, size, device):
        if size > 4:
            raise torch.cuda.OutOfMemoryError(f'{size} tiles on {device}')

    monkeypatch.setattr('dnas_mmseg.engine.batch_size.take_steps', take)
    assert set_largest_batch(config, fits_into_memory) == 4
    one = [('set_per_process_memory_fraction', 0.9), ('empty_cache',)]
    assert calls == [*one, ('set_per_process_memory_fraction', 1.0)] * 3


def test_steps_include_the_optimizer(config, monkeypatch):
    losses = []
    update = OptimWrapper.update_params
    monkeypatch.setattr(
        OptimWrapper, 'update_params', lambda self, loss: (losses.append(loss), update(self, loss))
    )
    take_steps(config, 2, 'cpu')
    assert len(losses) == 2
    assert losses[0].item() != losses[1].item()


@pytest.mark.skipif(torch.cuda.is_available(), reason='requires a machine without a GPU')
def test_a_gpu_is_required(config):
    with pytest.raises(UserError, match='--batch-size auto requires a CUDA GPU'):
        set_largest_batch(config)


def test_stages_of_a_search_are_refused(config):
    """Their architecture steps may need more memory."""
    config.custom_hooks = [dict(type='ArchitectureSearchHook')]
    with pytest.raises(UserError, match='--batch-size auto does not measure the architecture'):
        set_largest_batch(config, lambda config, size: True)
