"""Activation checkpointing."""

import copy

import pytest
import torch
from torch import nn

from dnas_mmseg.models.layers.recompute import recompute, untracked_statistics


@pytest.fixture
def block():
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Dropout(0.5))


@pytest.mark.parametrize('wrapped', [False, True])
def test_gradients_are_equal_and_statistics_update_once(block, wrapped):
    plain, again = block, copy.deepcopy(block)
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    results, runs = [], []
    again.register_forward_pre_hook(lambda *_: runs.append(1))
    for module in (plain, again):
        torch.manual_seed(1)
        if module is plain:
            y = module(x)
        elif wrapped:
            y = recompute(lambda x: again(x), x, norms_of=again)
        else:
            y = recompute(again, x)
        gradients = torch.autograd.grad(y.square().sum(), (x, *module.parameters()))
        results.append([y, *gradients, *module.buffers()])
    assert len(runs) == 2  # in forward, and in backward
    assert all(map(torch.equal, *results))
    assert again[1].num_batches_tracked == 1


def test_untracked_statistics_do_not_change(block):
    norm = block[1].train()
    x = 3 + 2 * torch.randn(4, 5, 6, 6)
    before = copy.deepcopy(norm.state_dict())
    with untracked_statistics(block):
        y = norm(x)
    assert y.mean().abs() < 1e-5  # by the batch
    assert all(torch.equal(value, before[key]) for key, value in norm.state_dict().items())
    norm(x)
    assert norm.num_batches_tracked == 1
    torch.testing.assert_close(norm.running_mean, 0.1 * x.mean((0, 2, 3)))


def test_an_exception_restores_the_norms(block):
    with pytest.raises(KeyError), untracked_statistics(block):
        raise KeyError
    assert block[1].momentum == 0.1
