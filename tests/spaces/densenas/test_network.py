"""DenseNAS's published networks, compared with the paper and its code."""

import pytest
import torch
from mmseg.registry import MODELS
from torch import nn

from dnas_mmseg.cost.counting import count
from dnas_mmseg.errors import UserError
from dnas_mmseg.spaces.architecture import ArchitectureError
from dnas_mmseg.spaces.densenas.network import DenseNAS

# Searched with the released code by a user who reported its costs.
REPORTED = """24 k3t3 [k3t3,k7t6] 2 | 48 k7t6 [k7t6] 2 | 72 k5t6 [k5t3,k7t6,k7t6] 2 |
128 k3t6 [k7t6,k7t3] 1 | 192 k7t6 [k5t3,k7t6,k7t6] 2 | 384 k5t3 [] 1"""


def document(text):
    blocks = [dict(width=16, head='k3t1', stack=[], stride=1)]
    for block in text.split('|'):
        width, head, stack, stride = block.split()
        stack = [name for name in stack.strip('[]').split(',') if name]
        blocks.append(dict(width=int(width), head=head, stack=stack, stride=int(stride)))
    return dict(
        format=1, space='densenas', level='cell', name='x', stem=16, final=1984, blocks=blocks
    )


class Classifier(nn.Module):
    def __init__(self, architecture):
        super().__init__()
        self.net = DenseNAS(architecture, in_channels=3, out_indices=(4,), with_final=True)
        self.classes = nn.Linear(self.net.out_channels[-1], 1000)

    def forward(self, x):
        return self.classes(self.net(x)[-1].mean((2, 3)))


@pytest.mark.parametrize(
    ('architecture', 'macs', 'parameters'),
    [
        ('densenas_a', 251.334, 4.768),
        ('densenas_b', 313.580, 5.584),
        ('densenas_c', 360.808, 6.134),
        (document(REPORTED), 423.997, 5.416),
        # Of the same space; its authors report the same parameters, but 407 M multiply-adds.
        ('efficientnet_lite0', 385.0, 4.652),
    ],
    ids=['A', 'B', 'C', 'reported', 'EfficientNet-Lite0'],
)
def test_counts_equal_the_published_ones(architecture, macs, parameters):
    net = Classifier(architecture).eval()
    counted = count(net, net, (1, 3, 224, 224))
    assert counted.macs / 1e6 == pytest.approx(macs, rel=1e-3)
    assert counted.parameters / 1e6 == pytest.approx(parameters, rel=1e-3)


@pytest.mark.parametrize('output_stride', [8, 16, 32])
def test_features_at_all_output_strides(output_stride):
    net = DenseNAS('densenas_a', output_stride=output_stride)
    features = net(torch.randn(2, 4, 97, 65))
    assert net.out_channels == (24, 48, 128, 384)
    assert net.strides == tuple(min(stride, output_stride) for stride in (4, 8, 16, 32))
    for feature, channels, stride in zip(features, net.out_channels, net.strides, strict=True):
        assert feature.shape == (2, channels, -(-97 // stride), -(-65 // stride))
    dilations = {m.dilation[0] for m in net.modules() if isinstance(m, nn.Conv2d)}
    assert max(dilations) == 32 // output_stride


@pytest.mark.parametrize(
    'head',
    [
        dict(type='DepthwiseSeparableASPPHead', channels=8, c1_channels=4),
        dict(type='UPerHead', channels=8, pool_scales=(1, 2)),
        dict(type='FPNHead', channels=8, feature_strides=(4, 8, 16, 32)),
        dict(type='LRASPPHead', channels=8, branch_channels=(8, 8)),
    ],
    ids=lambda head: head['type'],
)
def test_stock_heads_support_the_backbone(head):
    heads = {'LRASPPHead': dict(in_index=(0, 1, 2)), 'FPNHead': dict(in_index=(0, 1, 2, 3))}
    backbone = dict(type='DenseNAS', architecture='densenas_a')
    if head['type'] == 'LRASPPHead':
        backbone.update(out_indices=(1, 2, 4), output_stride=8)  # it pools 49 x 49
        head = dict(head, in_channels=[24, 48, 384], input_transform='multiple_select')
    if head['type'] == 'FPNHead':
        neck = dict(type='FPN', in_channels=[24, 48, 128, 384], out_channels=8, num_outs=4)
        head = dict(head, in_channels=[8] * 4)
    else:
        neck = None
    model = MODELS.build(
        dict(
            type='SearchedEncoderDecoder', backbone=backbone, neck=neck,
            decode_head=dict(
                num_classes=5, loss_decode=dict(type='LabelledCrossEntropyLoss'), **head,
                **heads.get(head['type'], {}),
            ),
            train_cfg=dict(), test_cfg=dict(mode='whole'),
        )
    ).eval()  # fmt: skip
    size = 400 if head['type'] == 'LRASPPHead' else 64
    assert model(torch.randn(1, 4, size, size)).shape[1] == 5


@pytest.mark.parametrize(('bands', 'size'), [(3, 32), (4, 64), (6, 17)])
def test_small_images_at_batch_size_1(bands, size):
    net = DenseNAS('densenas_a', in_channels=bands).train()
    sum(feature.sum() for feature in net(torch.randn(1, bands, size, size))).backward()
    assert all(p.grad is not None for p in net.parameters())


def test_invalid_arguments_raise():
    with pytest.raises(UserError, match='output_stride = 4: 8, 16 or 32'):
        DenseNAS('densenas_a', output_stride=4)
    with pytest.raises(UserError, match=r'out_indices = \(5,\): densenas_a has stages 0 to 4'):
        DenseNAS('densenas_a', out_indices=(5,))
    for block, message in (
        ('24 k4t3 [] 2', "operation 'k4t3' of block 1 is unknown"),
        ('24 skip [] 2', "operation 'skip' of block 1"),
        ('24 k3t3 [] 3', 'block 1: width 24, stride 3'),
    ):
        with pytest.raises(ArchitectureError, match=message):
            DenseNAS(document(block))
    with pytest.raises(ArchitectureError, match="of space 'autodeeplab', but backbone DenseNAS"):
        DenseNAS('autodeeplab')
