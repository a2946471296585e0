"""Memory format of models by device."""

import copy

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from torch import nn

from dnas_mmseg.models import align_optimizer, place

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


@pytest.mark.parametrize('kind', ['DMHead', 'ConvWS'])
def test_modules_that_view_their_tensors_still_work(kind):
    head = dict(in_channels=8, channels=4, num_classes=3, norm_cfg=dict(type='GN', num_groups=2))
    kinds = {
        'DMHead': dict(type='DMHead', filter_sizes=(1, 3), **head),
        'ConvWS': dict(type='FCNHead', num_convs=1, conv_cfg=dict(type='ConvWS'), **head),
    }
    torch.manual_seed(0)
    plain = MODELS.build({**kinds[kind], 'in_index': 0}).train()
    placed = place(copy.deepcopy(plain), 'cpu')
    for module in (*plain.modules(), *placed.modules()):
        if isinstance(module, nn.Dropout2d):
            module.p = 0.0
    maps = [torch.randn(2, 8, 9, 7)]
    torch.testing.assert_close(placed(maps), plain(maps))


@pytest.mark.parametrize(
    ('kind', 'options'), [('AdamW', {}), ('SGD', dict(momentum=0.9)), ('Adam', dict(foreach=False))]
)
@pytest.mark.parametrize('saved_in_last', [False, True])
def test_optimizers_resume_in_another_memory_format(kind, options, saved_in_last):
    """Fused steps after resuming equal those of an uninterrupted run."""

    def start(in_last):
        torch.manual_seed(0)
        model = nn.Conv2d(3, 5, 3).double()
        fused = {} if 'foreach' in options else {'fused': True}
        if in_last:
            place(model, 'cpu')
        return model, getattr(torch.optim, kind)(model.parameters(), 0.1, **options, **fused)

    def step(model, optimizer, seed):
        torch.manual_seed(seed)
        optimizer.zero_grad()
        model(torch.randn(2, 3, 6, 6, dtype=torch.double)).square().sum().backward()
        optimizer.step()

    whole, optimizer = start(saved_in_last)
    for i in range(3):
        step(whole, optimizer, i)
    resumed, other = start(not saved_in_last)
    resumed.load_state_dict(whole.state_dict())
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    align_optimizer(other)
    for i in range(3, 6):
        step(whole, optimizer, i)
        step(resumed, other, i)
    torch.testing.assert_close(resumed.weight, whole.weight, rtol=1e-9, atol=1e-9)


def test_an_optimizer_is_fused_as_it_was_built():
    model = nn.Conv2d(3, 5, 3)
    fused = torch.optim.AdamW(model.parameters(), fused=True)
    plain = torch.optim.AdamW(model.parameters())
    plain.load_state_dict(fused.state_dict())
    assert plain.param_groups[0]['fused']
    align_optimizer(plain)
    assert not plain.param_groups[0]['fused']
