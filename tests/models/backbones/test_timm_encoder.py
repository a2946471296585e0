"""Encoders of timm."""

import pytest
import torch

from dnas_mmseg.errors import UserError
from dnas_mmseg.models import TIMMEncoder

from ...conftest import import_timm

timm = import_timm()

NAME = 'mobilenetv3_small_050'


def test_channels_strides_and_bands():
    encoder = TIMMEncoder(NAME, bands=('nir', 'red', 'green', 'blue')).eval()
    maps = encoder(torch.randn(1, 4, 64, 96))
    assert tuple(x.shape[1] for x in maps) == encoder.out_channels
    assert tuple(64 // x.shape[2] for x in maps) == encoder.strides == (2, 4, 8, 16, 32)
    assert TIMMEncoder(NAME, out_indices=(1, 3)).strides == (4, 16)
    with pytest.raises(UserError, match='the image has 3 bands'):
        encoder(torch.randn(1, 3, 64, 64))
    assert TIMMEncoder(NAME, in_channels=13)(torch.randn(2, 13, 33, 47))[0].shape[2:] == (17, 24)


def test_features_with_channels_last_are_turned():
    encoder = TIMMEncoder('mambaout_femto', bands=('red', 'green', 'blue', 'nir')).eval()
    shapes = [tuple(x.shape) for x in encoder(torch.randn(1, 4, 64, 96))]
    expected = zip(encoder.out_channels, encoder.strides, strict=True)
    assert shapes == [(1, channels, 64 // s, 96 // s) for channels, s in expected]


def test_a_batch_of_one_pixel_can_be_trained():
    """The coarsest map has a single value per channel, which batch norms of timm refuse."""
    encoder = TIMMEncoder(NAME).train()
    maps = encoder(torch.randn(1, 3, 32, 32))
    assert maps[-1].shape[2:] == (1, 1)
    sum(x.sum() for x in maps).backward()
    assert all(p.grad.isfinite().all() for p in encoder.parameters())
    assert all(module.training for module in encoder.modules())


def test_pretrained_stems_are_adapted_by_band_names(tmp_path):
    whole = timm.create_model(NAME)
    torch.save(whole.state_dict(), tmp_path / 'weights.pth')
    encoder = TIMMEncoder(NAME, ('nir', 'blue', 'red'), checkpoint=tmp_path / 'weights.pth')
    (tmp_path / 'weights.pth').rename(tmp_path / 'moved.pth')
    with pytest.raises(UserError, match=r'weights\.pth of TIMMEncoder: no such file'):
        encoder.init_weights()  # a trained model is loaded without it
    (tmp_path / 'moved.pth').rename(tmp_path / 'weights.pth')
    encoder.init_weights()
    stem, own = whole.conv_stem.weight, encoder.encoder.conv_stem.weight
    assert torch.equal(own[:, 1], stem[:, 2])
    assert torch.equal(own[:, 2], stem[:, 0])
    torch.testing.assert_close(own[:, 0], stem.mean(1))
    own.data.add_(1)
    before = own.clone()
    encoder.init_weights()
    assert torch.equal(encoder.encoder.conv_stem.weight, before)


def test_mistakes_are_named(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"has no model 'resnt18' \(did you mean resnet18"):
        TIMMEncoder('resnt18')
    message = r'bands red, green, blue are 3, but in_channels=4'
    with pytest.raises(UserError, match=message):
        TIMMEncoder(NAME, in_channels=4, pretrained=True).init_weights()
    (tmp_path / 'other.pth').write_bytes(b'x')
    with pytest.raises(UserError, match=r"weights of '.*' cannot be read from .*other\.pth"):
        TIMMEncoder(NAME, checkpoint=tmp_path / 'other.pth').init_weights()

    def offline(*args, **kwargs):
        if kwargs.get('pretrained'):
            raise OSError('no route to host')
        return create(*args, **kwargs)

    create = timm.create_model
    monkeypatch.setattr(timm, 'create_model', offline)
    message = r'read from timm/mobilenetv3.* \(no route to host\): set checkpoint= to a file'
    with pytest.raises(UserError, match=message):
        TIMMEncoder(NAME, pretrained=True).init_weights()
