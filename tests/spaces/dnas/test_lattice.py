"""Common behaviour of networks and supernets on a lattice."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dnas_mmseg.spaces.architecture import ArchitectureError
from dnas_mmseg.spaces.dnas import lattice as module
from dnas_mmseg.spaces.dnas.network import DNAS


def randomise_statistics(model: nn.Module) -> None:
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.normal_(std=0.1)
            m.running_var.uniform_(0.5, 1.5)


@pytest.mark.parametrize('layers', [12, 14])
def test_pruning_leaves_the_output_bit_identical(layers):
    name = f'dnas_l{layers}_gid5'
    whole = DNAS(name, base_channels=4, prune=False)
    randomise_statistics(whole)
    pruned = DNAS(name, base_channels=4)
    pruned.load_state_dict(whole.state_dict())
    image = torch.randn(1, 4, 70, 90)
    with torch.no_grad():
        for a, b in zip(whole.eval()(image), pruned.eval()(image), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize('size', [(33, 33), (34, 61), (63, 65), (97, 130), (100, 37)])
@pytest.mark.parametrize('layers', [12, 14])
def test_sizes_of_outputs_are_rounded_up(layers, size):
    backbone = DNAS(f'dnas_l{layers}_gid5', base_channels=2, in_channels=3)
    features = backbone.train()(torch.randn(1, 3, *size))  # also batch size 1 in training
    assert len(features) == len(backbone.out_channels) == len(backbone.strides)
    for feature, channels, stride in zip(
        features, backbone.out_channels, backbone.strides, strict=True
    ):
        assert feature.shape == (1, channels, -(-size[0] // stride), -(-size[1] // stride))
        assert feature.isfinite().all()
    assert list(backbone.strides) == sorted(backbone.strides)
    sum(f.sum() for f in features).backward()


@pytest.mark.parametrize('layers', [12, 14])
def test_each_source_is_resized_once_for_each_scale(monkeypatch, layers):
    backbone = DNAS(f'dnas_l{layers}_gid5', base_channels=2)
    calls = []

    def counting(x, size, **kwargs):
        calls.append(size)
        return original(x, size, **kwargs)

    original = F.interpolate
    monkeypatch.setattr(module.F, 'interpolate', counting)
    backbone(torch.randn(2, 4, 64, 64))
    needed = {
        (source, target.scale)
        for source, target in backbone.architecture.edges
        if source.scale != target.scale
    }
    assert len(calls) == len(needed)


def test_tensors_are_released_after_their_last_use():
    backbone = DNAS('dnas_l14_gid5', base_channels=2)
    released = [key for step in backbone._steps for key in step.release]
    assert len(released) == len(set(released))
    edges = backbone.architecture.edges
    computed = {(source, target.scale) for source, target in edges}
    computed |= {(node, None) for edge in edges for node in edge}
    assert computed - set(released) == {(node, None) for node in backbone.outputs}


def test_recomputation_gives_the_same_gradients_and_statistics():
    plain, saving = (
        DNAS('dnas_l12_gid5', base_channels=4, with_cp=cp).double() for cp in (False, True)
    )
    saving.load_state_dict(plain.state_dict())
    image = torch.randn(2, 4, 64, 64, dtype=torch.double)
    for backbone in (plain, saving):
        sum(feature.square().mean() for feature in backbone(image)).backward()
    for (name, a), b in zip(plain.named_parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-9, atol=1e-12, msg=name)
    for (name, a), b in zip(plain.named_buffers(), saving.buffers(), strict=True):
        assert torch.equal(a, b), name


def test_initialisation_of_cells_and_stem():
    backbone = DNAS('dnas_l12_gid5', base_channels=40)
    backbone.init_weights()
    cells = [m for m in backbone.nodes.modules() if isinstance(m, nn.Conv2d)]
    conv = max(cells, key=lambda m: m.weight.numel())
    fan_in = conv.weight[0].numel()
    assert conv.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.02)
    stem = backbone.stem[2][0].weight
    bound = (1 / stem[0].numel()) ** 0.5  # torch: uniform, kaiming with a = sqrt(5)
    assert stem.abs().max().item() <= bound


def test_weights_of_another_architecture_raise():
    l12, l14 = DNAS('dnas_l12_gid5', base_channels=2), DNAS('dnas_l14_gid5', base_channels=2)
    with pytest.raises(ArchitectureError, match="another architecture than 'dnas_l14_gid5': 47 of"):
        l14.load_state_dict(l12.state_dict(), strict=False)
