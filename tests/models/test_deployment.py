"""Deployed models equal the trained ones up to rounding."""

import numpy as np
import pytest
import torch
from mmcv.cnn import ConvModule
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmseg.registry import MODELS
from torch import nn

from dnas_mmseg.errors import UserError
from dnas_mmseg.models import switch_to_deploy
from dnas_mmseg.spaces.dnas.decoding import random_architecture

from ..conftest import ROOT
from .conftest import assert_equal, trained


@pytest.mark.parametrize(
    'name',
    [
        'dnas/dnas_l12_w16_naip.py',
        'pspnet/pspnet_r18-d8_naip.py',
        'deeplabv3plus/deeplabv3plus_r18-d8_naip.py',
        'hrnet/fcn_hr18s_naip.py',
        'autodeeplab/autodeeplab_narrow_naip.py',
        'densenas/densenas_narrow_naip.py',
    ],
)
def test_models_of_the_configs(name):
    config = Config.fromfile(str(ROOT / 'configs' / name)).model
    config.pop('auxiliary_head', None)
    model = trained(MODELS.build(config))
    assert_equal(model, torch.randn(2, 4, 64, 96))
    deployed = switch_to_deploy(model)
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in deployed.modules())
    assert not any(p.requires_grad for p in deployed.parameters())


@pytest.mark.parametrize('classes', [2, 5, 40])
@pytest.mark.parametrize('activation', [None, dict(type='ReLU')])
def test_a_linear_head_is_merged(build_segmentor, classes, activation):
    """Exact, including the borders."""
    head = dict(type='DNASHead', channels=16, num_classes=classes, act_cfg=activation)
    backbone = dict(type='DNAS', architecture='dnas_l14_gid5', base_channels=4)
    model = trained(build_segmentor(backbone=backbone, head=head))
    logits = assert_equal(model, torch.randn(1, 4, 64, 80))
    assert logits.shape[1] == classes


def test_a_second_call_has_no_effect(build_segmentor):
    deployed = switch_to_deploy(trained(build_segmentor()))
    x = torch.randn(1, 4, 64, 64)
    assert torch.equal(switch_to_deploy(deployed)(x), deployed(x))


def test_other_normalisations_remain(build_segmentor):
    norm = dict(type='GN', num_groups=2)
    backbone = dict(type='DNAS', architecture='dnas_l12_gid5', base_channels=4, norm_cfg=norm)
    head = dict(type='DNASHead', channels=16, num_classes=5, norm_cfg=norm)
    assert_equal(trained(build_segmentor(backbone=backbone, head=head)), torch.randn(1, 4, 64, 64))


@pytest.mark.parametrize('kind', ['SyncBN', 'double', 'bands'])
def test_type_and_device_of_the_model_are_preserved(build_segmentor, kind):
    norm = dict(type='SyncBN' if kind == 'SyncBN' else 'BN')
    head = dict(type='DNASHead', channels=16, num_classes=5, norm_cfg=norm)
    backbone = dict(type='DNAS', architecture='dnas_l14_gid5', base_channels=4, norm_cfg=norm)
    model = trained(revert_sync_batchnorm(build_segmentor(backbone=backbone, head=head)))
    x = torch.randn(1, 4, 64, 64)
    if kind == 'double':
        model, x = model.double(), x.double()
    assert_equal(model, x)
    deployed = switch_to_deploy(model)
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in deployed.modules())
    with pytest.raises(UserError, match='3 bands'):
        deployed(x[:, :3])


def test_norms_without_running_statistics_remain():
    """They normalise by batch statistics, which cannot be folded."""
    norm = dict(type='BN', track_running_stats=False)
    module = ConvModule(8, 8, 3, padding=1, norm_cfg=norm)
    assert_equal(module.eval(), torch.randn(2, 8, 9, 9))


@pytest.mark.parametrize('order', [('conv', 'norm', 'act'), ('norm', 'act', 'conv')])
def test_only_norms_after_a_convolution_are_folded(order):
    """The order of computation counts, not that of the children."""
    module = ConvModule(8, 8, 3, padding=1, norm_cfg=dict(type='BN'), order=order)
    assert_equal(trained(module), torch.randn(2, 8, 9, 9))


@pytest.mark.parametrize(
    'backbone',
    [
        dict(type='DNASPathSupernet', layers=4, base_channels=4),
        dict(type='DNASConnectionSupernet', architecture='dnas_l12_gid5@path', base_channels=2),
        dict(type='DNASCellSupernet', architecture='dnas_l12_gid5@connection', base_channels=2),
        dict(type='AutoDeepLabSupernet', layers=4, filters=2, blocks=2),
    ],
    ids=lambda backbone: backbone['type'],
)
def test_a_deployed_supernet_applies_its_weights(backbone):
    """Weights of edges and operations still apply after folding."""
    net = MODELS.build(backbone)
    for parameter in net.architecture_parameters().values():
        parameter.data.normal_()
    image = torch.randn(2, 4, 64, 64)
    with torch.no_grad():
        net.train()(image)  # updates the running statistics
        expected = net.eval()(image)
        got = switch_to_deploy(net)(image)
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('size', [(64, 64), (65, 97), (33, 128)])
@pytest.mark.parametrize('layers', [12, 14])
def test_released_dnas_networks_at_any_size(build_segmentor, layers, size):
    backbone = dict(type='DNAS', architecture=f'dnas_l{layers}_gid5', base_channels=8, prune=False)
    model = trained(build_segmentor(backbone=backbone))
    assert_equal(model, torch.randn(1, 4, *size))


@pytest.mark.parametrize('seed', range(4))
def test_random_dnas_networks(build_segmentor, seed):
    """All operations at all scales."""
    architecture = random_architecture(6, np.random.default_rng(seed), 'random')
    backbone = dict(type='DNAS', architecture=architecture, base_channels=4)
    assert_equal(trained(build_segmentor(backbone=backbone)), torch.randn(2, 4, 70, 58))
