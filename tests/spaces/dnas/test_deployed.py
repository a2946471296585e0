"""DNAS networks in the form that predicts."""

import numpy as np
import pytest
import torch
from torch import nn

from dnas_mmseg.spaces.dnas.decoding import random_architecture
from dnas_mmseg.spaces.dnas.deployed import max_pool

from ...models.conftest import assert_equal, trained


@pytest.mark.parametrize('size', [(64, 64), (65, 97), (33, 128)])
@pytest.mark.parametrize('layers', [12, 14])
def test_the_released_networks_at_any_size(build_segmentor, layers, size):
    backbone = dict(type='DNAS', architecture=f'dnas_l{layers}_gid5', base_channels=8, prune=False)
    model = trained(build_segmentor(backbone=backbone))
    assert_equal(model, torch.randn(1, 4, *size))


@pytest.mark.parametrize('seed', range(4))
def test_random_networks(build_segmentor, seed):
    """All operations, in nodes of all scales."""
    drawn = random_architecture(6, np.random.default_rng(seed), 'drawn')
    backbone = dict(type='DNAS', architecture=drawn, base_channels=4)
    assert_equal(trained(build_segmentor(backbone=backbone)), torch.randn(2, 4, 70, 58))


def test_pooling_without_indices():
    x = torch.randn(2, 5, 7, 6).contiguous(memory_format=torch.channels_last)
    assert torch.equal(max_pool(x), nn.functional.max_pool2d(x, 3, 1, 1))
    assert torch.equal(max_pool(x[:, 1:3, :1, :1]), x[:, 1:3, :1, :1])
