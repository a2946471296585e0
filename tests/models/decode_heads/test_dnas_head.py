import pytest
import torch
from mmseg.registry import MODELS
from torch import nn


def build(**kwargs):
    return MODELS.build(dict(type='DNASHead', in_channels=[8, 16], num_classes=3, **kwargs))


def test_it_is_linear_in_evaluation_as_published():
    head = build().eval()
    a, b = ([torch.randn(1, 8, 16, 16), torch.randn(1, 16, 8, 8)] for _ in range(2))
    zero = [torch.zeros_like(x) for x in a]
    total = [x + y for x, y in zip(a, b, strict=True)]
    with torch.no_grad():
        torch.testing.assert_close(
            head(total) - head(zero), head(a) + head(b) - 2 * head(zero), rtol=1e-4, atol=1e-5
        )
        assert not any(isinstance(m, nn.ReLU) for m in head.modules())


def test_an_activation_is_an_option():
    head = build(act_cfg=dict(type='ReLU'))
    assert sum(isinstance(m, nn.ReLU) for m in head.modules()) == 2


def test_dropout_is_elementwise():
    head = build()
    dropouts = [m for m in head.modules() if isinstance(m, nn.modules.dropout._DropoutNd)]
    assert sorted(m.p for m in dropouts) == [0.1, 0.5]
    for dropout in dropouts:
        shares = (dropout.train()(torch.ones(1, 8, 32, 32)) == 0).double().mean((2, 3))
        assert ((shares > dropout.p / 2) & (shares < 1.5 * dropout.p)).all()


def test_logits_have_the_size_of_the_first_input():
    assert build()([torch.randn(2, 8, 17, 9), torch.randn(2, 16, 9, 5)]).shape == (2, 3, 17, 9)


@pytest.mark.parametrize(
    'backbone',
    [
        dict(type='ResNet', depth=18, in_channels=4, out_indices=(0, 1, 2, 3)),
        dict(
            type='HRNet',
            in_channels=4,
            extra={
                f'stage{i}': dict(
                    num_modules=1,
                    num_branches=i,
                    block='BOTTLENECK' if i == 1 else 'BASIC',
                    num_blocks=(1,) * i,
                    num_channels=(64,) if i == 1 else tuple(4 * 2**j for j in range(i)),
                )
                for i in range(1, 5)
            },
        ),
    ],
    ids=['ResNet', 'HRNet'],
)
def test_it_works_on_stock_backbones(backbone):
    channels = [64, 128, 256, 512] if backbone['type'] == 'ResNet' else [4, 8, 16, 32]
    model = MODELS.build(
        dict(
            type='EncoderDecoder',
            backbone=backbone,
            decode_head=dict(type='DNASHead', in_channels=channels, num_classes=5, channels=8),
            test_cfg=dict(mode='whole'),
        )
    ).eval()
    assert model(torch.randn(1, 4, 64, 96)).shape == (1, 5, 16, 24)


def test_the_classification_layer_starts_as_torch_does():
    """mmseg's heads start theirs from a normal of 0.01."""
    head = MODELS.build(dict(type='DNASHead', in_channels=[8], num_classes=50))
    head.init_weights()
    bound = 256**-0.5
    assert head.conv_seg.weight.abs().max().item() == pytest.approx(bound, rel=0.01)
