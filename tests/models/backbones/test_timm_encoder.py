"""Encoders of timm."""

import pytest
import torch

from dnas_mmseg.errors import UserError
from dnas_mmseg.models import TIMMEncoder

timm = pytest.importorskip('timm', reason="timm is not installed: pip install 'dnas_mmseg[timm]'")

NAME = 'mobilenetv3_small_050'


def test_channels_strides_and_bands():
    encoder = TIMMEncoder(NAME, bands=('nir', 'red', 'green', 'blue')).eval()
    maps = encoder(torch.randn(1, 4, 64, 96))
    assert tuple(x.shape[1] for x in maps) == encoder.out_channels
    assert tuple(64 // x.shape[2] for x in maps) == encoder.strides == (2, 4, 8, 16, 32)
    assert TIMMEncoder(NAME, out_indices=(1, 3)).strides == (4, 16)
    with pytest.raises(UserError, match='the image has 3 bands'):
        encoder(torch.randn(1, 3, 64, 64))


def test_pretrained_stems_are_adapted_by_band_names(tmp_path):
    whole = timm.create_model(NAME)
    torch.save(whole.state_dict(), tmp_path / 'weights.pth')
    encoder = TIMMEncoder(NAME, ('nir', 'blue', 'red'), checkpoint=tmp_path / 'weights.pth')
    stem, own = whole.conv_stem.weight, encoder.encoder.conv_stem.weight
    assert torch.equal(own[:, 1], stem[:, 2])
    assert torch.equal(own[:, 2], stem[:, 0])
    torch.testing.assert_close(own[:, 0], stem.mean(1))
    before = own.clone()
    encoder.init_weights()
    assert torch.equal(encoder.encoder.conv_stem.weight, before)


def test_mistakes_are_named(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"has no model 'resnt18' \(did you mean resnet18"):
        TIMMEncoder('resnt18')
    with pytest.raises(UserError, match=r'none\.pth of TIMMEncoder: no such file'):
        TIMMEncoder(NAME, checkpoint=tmp_path / 'none.pth')
    (tmp_path / 'other.pth').write_bytes(b'x')
    with pytest.raises(UserError, match=r"weights of '.*' cannot be read from .*other\.pth"):
        TIMMEncoder(NAME, checkpoint=tmp_path / 'other.pth')

    def offline(*args, **kwargs):
        if kwargs.get('pretrained'):
            raise OSError('no route to host')
        return create(*args, **kwargs)

    create = timm.create_model
    monkeypatch.setattr(timm, 'create_model', offline)
    message = r'read from timm/mobilenetv3.* \(no route to host\): set checkpoint= to a file'
    with pytest.raises(UserError, match=message):
        TIMMEncoder(NAME, pretrained=True)
