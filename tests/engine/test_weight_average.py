"""The average of weights equals mmengine's."""

import copy

import pytest
import torch
from mmengine.model import MomentumAnnealingEMA
from torch import nn

from dnas_mmseg.engine import ForeachMomentumAnnealingEMA


@pytest.mark.parametrize('update_buffers', [False, True])
@pytest.mark.parametrize('interval', [1, 3])
def test_average_equals_that_of_mmengine(update_buffers, interval):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Linear(3, 2))
    settings = dict(momentum=0.1, gamma=4, interval=interval, update_buffers=update_buffers)
    stock = MomentumAnnealingEMA(copy.deepcopy(model), **settings)
    own = ForeachMomentumAnnealingEMA(copy.deepcopy(model), **settings)
    for _ in range(10):
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor.data.normal_().abs_()
            else:
                tensor += 1
        stock.update_parameters(model)
        own.update_parameters(model)
    expected, state = stock.state_dict(), own.state_dict()
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(state[name], value), name
    assert not torch.equal(state['module.0.weight'], model[0].weight)
