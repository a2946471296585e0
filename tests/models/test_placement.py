"""Memory format of models by device."""

import copy

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from torch import nn

from dnas_mmseg.models import place

from ..conftest import ROOT

LAST = torch.channels_last


def in_last(tensor):
    return tensor.is_contiguous(memory_format=LAST) and not tensor.is_contiguous()


def gradients(model, images, target):
    model.zero_grad()
    maps = model(images)
    (maps * target).mean().backward()
    return maps, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize('name', ['hrnet/fcn_hr18s_naip.py', 'dnas/dnas_l12_w16_naip.py'])
def test_logits_and_gradients_equal_those_of_contiguous_weights(name):
    config = Config.fromfile(str(ROOT / 'configs' / name)).model
    config.pop('auxiliary_head', None)
    torch.manual_seed(0)
    plain = MODELS.build(config).double().train()
    placed = place(copy.deepcopy(plain), 'cpu')
    assert any(in_last(p) for p in placed.parameters())
    images = torch.randn(2, 4, 64, 64, dtype=torch.double)
    with torch.no_grad():
        target = torch.randn_like(plain(images))
    torch.manual_seed(1)  # dropout
    maps, expected = gradients(plain, images, target)
    torch.manual_seed(1)
    own_maps, own = gradients(placed, images, target)
    torch.testing.assert_close(own_maps, maps, rtol=1e-9, atol=1e-9)
    assert own.keys() == expected.keys()
    for key, gradient in own.items():
        torch.testing.assert_close(gradient, expected[key], rtol=1e-7, atol=1e-9)


def test_parameters_remain_the_same_objects_and_others_keep_their_format():
    model = nn.ModuleList([nn.Conv3d(2, 3, 3), nn.Conv2d(4, 8, 3), nn.Linear(4, 2)])
    before = list(model.parameters())
    place(model, 'cpu')
    assert [id(p) for p in model.parameters()] == [id(p) for p in before]
    assert in_last(model[1].weight)
    assert model[0].weight.is_contiguous()


def test_another_device_keeps_the_format():
    assert not in_last(place(nn.Conv2d(4, 8, 3), 'meta').weight)
