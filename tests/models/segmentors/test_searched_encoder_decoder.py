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
def test_stock_heads_get_the_backbones_outputs(build_segmentor, config, in_channels, in_index):
    model = build_segmentor(backbone=dict(architecture='dnas_l14_gid5'), head=config).eval()
    assert model.decode_head.in_channels == in_channels
    assert model.decode_head.in_index == in_index
    logits = model.predict(torch.randn(1, 4, 65, 90))[0].seg_logits.data
    assert logits.shape[0] == 5


def test_the_low_level_input_of_deeplab_is_the_finest(build_segmentor):
    config = head('DepthwiseSeparableASPPHead', dilations=(1, 6), c1_channels=4)
    model = build_segmentor(backbone=dict(architecture='dnas_l14_gid5'), head=config)
    assert model.decode_head.c1_bottleneck.conv.in_channels == 4


def test_auxiliary_heads_are_filled_in_too(build_segmentor):
    model = build_segmentor(auxiliary_head=[head('FCNHead', in_index=0), head('FCNHead')])
    assert [aux.in_channels for aux in model.auxiliary_head] == [8, 16]
    assert build_segmentor(auxiliary_head=head('FCNHead')).auxiliary_head.in_channels == 16


def test_an_explicit_value_wins(build_segmentor):
    model = build_segmentor(head=head('DNASHead', in_channels=[16], in_index=[1]))
    assert model.decode_head.in_channels == 16
    model = build_segmentor(head=head('UPerHead', in_channels=[8, 16]))
    assert model.decode_head.in_index == [0, 1]


def test_an_index_beyond_the_outputs_says_what_there_is(build_segmentor):
    for config in (head('FCNHead', in_index=3), head('DNASHead', in_index=[0, 3])):
        with pytest.raises(UserError, match=r'in_index 3: DNAS has 2 outputs \(channels 8, 16\)'):
            build_segmentor(head=config)
    model = build_segmentor(head=head('DNASHead', in_index=1))
    assert model.decode_head.in_channels == 16


def test_changing_the_architecture_changes_one_line(build_segmentor):
    for name, channels in (('dnas_l12_gid5', 24), ('dnas_l14_gid5', 60)):
        model = build_segmentor(backbone=dict(architecture=name))
        assert model.decode_head.in_channels == channels


def test_a_backbone_that_does_not_tell_needs_explicit_channels():
    with pytest.raises(UserError, match='leaves out in_channels, and ResNet does not tell'):
        MODELS.build(
            dict(
                type='SearchedEncoderDecoder',
                backbone=dict(type='ResNet', depth=18),
                decode_head=head('FCNHead'),
            )
        )


def test_a_heads_own_mistakes_are_reported_as_such(build_segmentor):
    with pytest.raises(TypeError, match='no_such_argument'):
        build_segmentor(head=head('UPerHead', no_such_argument=1))
