"""Auto-DeepLab's published networks, compared with the paper and its implementation."""

import pytest
import torch
from mmseg.registry import MODELS

from dnas_mmseg.cost.counting import count
from dnas_mmseg.errors import UserError
from dnas_mmseg.models import AutoDeepLabHead
from dnas_mmseg.spaces.architecture import ArchitectureError
from dnas_mmseg.spaces.autodeeplab.network import AutoDeepLab

LOSS = dict(type='LabelledCrossEntropyLoss')


def segmentor(filters, bands=3, classes=19, **head):
    head = head or dict(type='AutoDeepLabHead')
    return MODELS.build(
        dict(
            type='SearchedEncoderDecoder',
            backbone=dict(type='AutoDeepLab', filters=filters, in_channels=bands),
            decode_head=dict(num_classes=classes, loss_decode=LOSS, **head),
            train_cfg=dict(), test_cfg=dict(mode='whole'),
        )
    ).eval()  # fmt: skip


@pytest.mark.parametrize(
    ('filters', 'backbone', 'whole', 'macs'),
    [
        (20, 7_030_832, 10_147_427, 317.5),
        (32, 17_612_096, 21_622_451, 435.0),
        (48, 39_222_656, 44_424_691, 653.6),
    ],
)
def test_parameters_and_multiply_adds_equal_the_published_ones(filters, backbone, whole, macs):
    model = segmentor(filters)
    assert sum(p.numel() for p in model.backbone.parameters()) == backbone
    assert sum(p.numel() for p in model.parameters()) == whole
    counted = count(model, model, (1, 3, 1024, 2048)).macs / 1e9
    assert counted == pytest.approx(macs, rel=0.005)


@pytest.mark.parametrize(('bands', 'size'), [(3, (64, 96)), (4, (65, 97)), (6, (33, 50))])
def test_any_bands_and_sizes(bands, size):
    net = AutoDeepLab(filters=4, in_channels=bands)
    low, last = net(torch.randn(2, bands, *size))
    assert net.out_channels == (20, 40)
    assert net.strides == (4, 8)
    for feature, channels, stride in ((low, 20, 4), (last, 40, 8)):
        assert feature.shape == (2, channels, *(-(-side // stride) for side in size))


@pytest.mark.parametrize(
    'head',
    [
        dict(type='FCNHead', channels=8, num_convs=1),
        dict(type='DNASHead', channels=8),
        dict(type='PSPHead', channels=8),
        dict(type='DepthwiseSeparableASPPHead', channels=8, c1_channels=4),
    ],
    ids=lambda head: head['type'],
)
def test_stock_heads_support_the_backbone(head):
    model = segmentor(4, bands=4, classes=5, **head)
    assert model(torch.randn(1, 4, 64, 64)).shape[1] == 5


def test_all_parameters_are_trained_at_batch_size_1():
    model = segmentor(4).train()
    model(torch.randn(1, 3, 32, 32)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_other_cells_and_paths():
    document = dict(
        format=1, space='autodeeplab', level='cell', name='x', path=[1, 2, 3, 2],
        cell=[[[0, 'skip'], [1, 'avg3']], [[2, 'max3'], [1, 'atrous3']]],
    )  # fmt: skip
    net = AutoDeepLab(document, filters=4)
    assert net.strides == (32, 16)
    assert [f.shape[2:] for f in net(torch.randn(1, 4, 70, 64))] == [(3, 2), (5, 4)]
    for change, message in (
        (dict(path=[0, 2]), 'path jumps from scale 0 to 2 at layer 1'),
        (dict(path=[0, 4]), 'scale 4 of layer 1'),
        (dict(cell=[[[0, 'sep3'], [0, 'sep5']]]), 'both branches of block 0 have input 0'),
        (dict(cell=[[[2, 'sep3'], [0, 'sep5']]]), 'block 0 has input 2'),
        (dict(cell=[[[1, 'sep7'], [0, 'sep5']]]), "operation 'sep7' of block 0 is unknown"),
        (dict(level='path'), 'decided together'),
    ):
        with pytest.raises(ArchitectureError, match=message):
            AutoDeepLab({**document, **change})


def test_invalid_arguments_raise():
    with pytest.raises(ArchitectureError, match="of space 'dnas', but backbone AutoDeepLab"):
        AutoDeepLab('dnas_l12_gid5')
    with pytest.raises(UserError, match='has 4 bands, but AutoDeepLab has in_channels'):
        AutoDeepLab(filters=2, in_channels=3)(torch.zeros(1, 4, 32, 32))
    assert AutoDeepLabHead([10, 20], num_classes=2, loss_decode=LOSS).channels == 256
