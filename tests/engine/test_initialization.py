"""Initialisation from checkpoints with other bands or classes."""

import pytest
import torch
from mmengine.runner import save_checkpoint
from mmseg.registry import MODELS

from dnas_mmseg.errors import UserError
from dnas_mmseg.models.layers import input_bands
from dnas_mmseg.models.layers.input_bands import adapt_input_conv
from dnas_mmseg.spaces.dnas.network import DNAS

BANDS = ('nir', 'red', 'green', 'blue')


def resnet(channels, **init):
    init_cfg = dict(type='MultiBandPretrained', bands=BANDS, **init) if init else None
    return MODELS.build(
        dict(type='ResNetV1c', depth=18, in_channels=channels, base_channels=8, init_cfg=init_cfg)
    )


def test_known_bands_keep_their_kernels_and_new_ones_get_the_mean(monkeypatch):
    notes = []
    monkeypatch.setattr(input_bands, 'print_log', lambda text, **_: notes.append(text))
    weight = torch.randn(8, 3, 3, 3)
    adapted = adapt_input_conv(weight, ('red', 'green', 'blue'), BANDS)
    assert torch.equal(adapted[:, 1:], weight)
    assert torch.equal(adapted[:, 0], weight.mean(1))
    assert notes == [
        'bands without pretrained kernels: nir; they start from the mean of those of red, green, '
        'blue'
    ]
    assert torch.equal(adapt_input_conv(weight, ('red', 'green', 'blue'), BANDS[1:]), weight)
    assert len(notes) == 1


def test_a_four_band_backbone_from_three_bands(tmp_path):
    source = resnet(3)
    source.init_weights()
    save_checkpoint(dict(state_dict=source.state_dict()), str(tmp_path / 'rgb.pth'))
    model = resnet(4, checkpoint=str(tmp_path / 'rgb.pth'))
    model.init_weights()
    own, theirs = model.state_dict(), source.state_dict()
    assert torch.equal(own['stem.0.weight'][:, 1:], theirs['stem.0.weight'])
    assert torch.equal(own['stem.0.weight'][:, 0], theirs['stem.0.weight'].mean(1))
    assert all(torch.equal(own[key], theirs[key]) for key in own if key != 'stem.0.weight')


def segmentor(classes, bands, init_cfg=None, base_channels=4):
    return MODELS.build(
        dict(
            type='SearchedEncoderDecoder',
            backbone=dict(
                type='DNAS',
                architecture='dnas_l12_gid5',
                base_channels=base_channels,
                in_channels=bands,
            ),
            decode_head=dict(type='DNASHead', num_classes=classes, channels=8),
            init_cfg=init_cfg,
        )
    )


def test_fine_tuning_to_other_classes_and_bands(tmp_path):
    source = segmentor(5, 4)
    source.init_weights()
    save_checkpoint(dict(state_dict=source.state_dict()), str(tmp_path / 'gid5.pth'))
    bands = ('red', 'green', 'blue', 'nir', 'swir')
    init_cfg = dict(
        type='MultiBandPretrained',
        checkpoint=str(tmp_path / 'gid5.pth'),
        source_bands=BANDS,
        bands=bands,
    )
    model = segmentor(3, 5, init_cfg)
    model.init_weights()
    own, theirs = model.state_dict(), source.state_dict()
    stem = 'backbone.stem.0.0.weight'
    assert torch.equal(own[stem][:, 3], theirs[stem][:, 0])
    assert torch.equal(own[stem][:, 4], theirs[stem].mean(1))
    changed = {key for key in own if own[key].shape != theirs[key].shape}
    assert changed == {stem, 'decode_head.conv_seg.weight', 'decode_head.conv_seg.bias'}
    assert all(torch.equal(own[key], theirs[key]) for key in own if key not in changed)


def test_a_prefix_selects_the_backbone_of_a_segmentor(tmp_path):
    source = segmentor(5, 4)
    save_checkpoint(dict(state_dict=source.state_dict()), str(tmp_path / 'whole.pth'))
    init = dict(
        type='MultiBandPretrained',
        checkpoint=str(tmp_path / 'whole.pth'),
        bands=BANDS,
        source_bands=BANDS,
    )
    with pytest.raises(UserError, match=r"are missing .*set prefix='backbone\.'"):
        DNAS('dnas_l12_gid5', base_channels=4, init_cfg=init).init_weights()
    backbone = DNAS('dnas_l12_gid5', base_channels=4, init_cfg={**init, 'prefix': 'backbone.'})
    backbone.init_weights()
    for key, value in backbone.state_dict().items():
        assert torch.equal(value, source.backbone.state_dict()[key]), key


def test_checkpoints_of_another_network_are_refused(tmp_path):
    save_checkpoint(dict(state_dict=segmentor(5, 4).state_dict()), str(tmp_path / 'c.pth'))
    init = dict(
        type='MultiBandPretrained',
        checkpoint=str(tmp_path / 'c.pth'),
        bands=BANDS,
        source_bands=BANDS,
    )
    with pytest.raises(UserError, match='the checkpoint belongs to another network'):
        segmentor(5, 4, init, base_channels=6).init_weights()


def test_bands_in_another_order_are_reordered(tmp_path):
    """The shapes are equal, so only the names reveal the order."""
    source = segmentor(5, 4)
    save_checkpoint(dict(state_dict=source.state_dict()), str(tmp_path / 'gid5.pth'))
    init_cfg = dict(
        type='MultiBandPretrained',
        checkpoint=str(tmp_path / 'gid5.pth'),
        source_bands=BANDS,
        bands=('Red', 'Green', 'Blue', 'NIR'),
    )
    model = segmentor(5, 4, init_cfg)
    model.init_weights()
    stem = 'backbone.stem.0.0.weight'
    assert torch.equal(model.state_dict()[stem], source.state_dict()[stem][:, [1, 2, 3, 0]])
    with pytest.raises(UserError, match=r'the model: .* has 4 input bands, but 3 band names'):
        segmentor(5, 4, {**init_cfg, 'bands': ('red', 'green', 'blue')}).init_weights()


def test_checkpoints_of_a_smaller_network_are_refused(tmp_path):
    source = resnet(3)
    save_checkpoint(dict(state_dict=source.state_dict()), str(tmp_path / 'r18.pth'))
    init_cfg = dict(type='MultiBandPretrained', checkpoint=str(tmp_path / 'r18.pth'), bands=BANDS)
    larger = MODELS.build(
        dict(type='ResNetV1c', depth=34, in_channels=4, base_channels=8, init_cfg=init_cfg)
    )
    with pytest.raises(UserError, match='of ResNetV1c are missing'):
        larger.init_weights()
