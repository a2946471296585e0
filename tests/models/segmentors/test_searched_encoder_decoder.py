import pytest
import torch
from mmseg.registry import MODELS

from dnas_mmseg.errors import UserError


def head(name, **kwargs):
    return dict(type=name, num_classes=5, channels=8, **kwargs)


@pytest.mark.parametrize(
    ('config', 'in_channels', 'in_index'),
    [
        (head('FCNHead'), 32, -1),
        (head('FCNHead', in_index=0), 4, 0),
        (head('UPerHead'), [4, 8, 16, 32], [0, 1, 2, 3]),
        (head('UPerHead', in_index=[1, 3]), [8, 32], [1, 3]),
        (head('FPNHead', feature_strides=[4, 8, 16, 32]), [4, 8, 16, 32], [0, 1, 2, 3]),
        (
            head('FCNHead', input_transform='resize_concat', in_index=(0, 2)),
            20,
            (0, 2),
        ),
        (head('DepthwiseSeparableASPPHead', dilations=(1, 6), c1_channels=4), 32, -1),
        (head('PSPHead'), 32, -1),
        (head('DNASHead'), 60, [0, 1, 2, 3]),
    ],
    ids=lambda value: value['type'] if isinstance(value, dict) else '',
)
def test_stock_heads_get_input_channels_from_the_backbone(
    build_segmentor, config, in_channels, in_index
):
    model = build_segmentor(backbone=dict(architecture='dnas_l14_gid5'), head=config).eval()
    assert model.decode_head.in_channels == in_channels
    assert model.decode_head.in_index == in_index
    logits = model.predict(torch.randn(1, 4, 65, 90))[0].seg_logits.data
    assert logits.shape[0] == 5


def test_deeplab_low_level_input_is_the_finest_output(build_segmentor):
    config = head('DepthwiseSeparableASPPHead', dilations=(1, 6), c1_channels=4)
    model = build_segmentor(backbone=dict(architecture='dnas_l14_gid5'), head=config)
    assert model.decode_head.c1_bottleneck.conv.in_channels == 4


def test_auxiliary_heads_get_input_channels(build_segmentor):
    model = build_segmentor(auxiliary_head=[head('FCNHead', in_index=0), head('FCNHead')])
    assert [aux.in_channels for aux in model.auxiliary_head] == [8, 16]
    assert build_segmentor(auxiliary_head=head('FCNHead')).auxiliary_head.in_channels == 16


def test_explicit_settings_take_precedence(build_segmentor):
    model = build_segmentor(head=head('DNASHead', in_channels=[16], in_index=[1]))
    assert model.decode_head.in_channels == 16
    model = build_segmentor(head=head('UPerHead', in_channels=[8, 16]))
    assert model.decode_head.in_index == [0, 1]


def test_an_index_out_of_range_lists_the_outputs(build_segmentor):
    for config in (head('FCNHead', in_index=3), head('DNASHead', in_index=[0, 3])):
        with pytest.raises(
            UserError, match=r'in_index 3 is out of range: DNAS has 2 outputs \(channels 8, 16\)'
        ):
            build_segmentor(head=config)
    model = build_segmentor(head=head('DNASHead', in_index=1))
    assert model.decode_head.in_channels == 16


def test_the_architecture_can_be_replaced_by_one_setting(build_segmentor):
    for name, channels in (('dnas_l12_gid5', 24), ('dnas_l14_gid5', 60)):
        model = build_segmentor(backbone=dict(architecture=name))
        assert model.decode_head.in_channels == channels


def test_a_backbone_without_out_channels_is_asked_with_a_small_image():
    model = MODELS.build(
        dict(
            type='SearchedEncoderDecoder',
            backbone=dict(type='ResNet', depth=18),
            decode_head=head('UPerHead'),
            auxiliary_head=head('FCNHead', in_index=2),
        )
    )
    assert model.decode_head.in_channels == [64, 128, 256, 512]
    assert model.auxiliary_head.in_channels == 256
    assert model.backbone.training


def test_errors_of_the_head_are_passed_on(build_segmentor):
    with pytest.raises(TypeError, match='no_such_argument'):
        build_segmentor(head=head('UPerHead', no_such_argument=1))


def test_a_frozen_backbone_keeps_weights_and_statistics():
    model = MODELS.build(
        dict(
            type='SearchedEncoderDecoder', freeze_backbone=True,
            backbone=dict(type='DNAS', architecture='dnas_l12_gid5', base_channels=2),
            decode_head=dict(type='DNASHead', num_classes=5, channels=4),
            train_cfg=dict(), test_cfg=dict(mode='whole'),
        )
    ).train()  # fmt: skip
    before = {k: v.clone() for k, v in model.backbone.state_dict().items()}
    model._forward(torch.randn(2, 4, 32, 32)).sum().backward()
    assert all(torch.equal(v, before[k]) for k, v in model.backbone.state_dict().items())
    assert not any(p.requires_grad for p in model.backbone.parameters())
    assert all(p.grad is not None for p in model.decode_head.parameters())
    assert model.decode_head.training
