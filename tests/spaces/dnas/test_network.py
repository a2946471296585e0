import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import nn

from dnas_mmseg.engine.checkpoints import load_exactly, load_weights
from dnas_mmseg.spaces.architecture import ArchitectureError
from dnas_mmseg.spaces.dnas.authors_checkpoint import from_authors
from dnas_mmseg.spaces.dnas.network import DNAS
from dnas_mmseg.spaces.registry import load_architecture


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def randomise_statistics(model: nn.Module) -> None:
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.normal_(std=0.1)
            m.running_var.uniform_(0.5, 1.5)


@pytest.mark.parametrize(
    ('layers', 'prune', 'count'),
    [
        (12, False, 6_156_653),
        (12, True, 6_077_773),
        (14, False, 7_359_053),
        (14, True, 7_061_893),
    ],
)
def test_parameter_counts_of_the_whole_network(build_segmentor, layers, prune, count):
    model = build_segmentor(
        backbone=dict(architecture=f'dnas_l{layers}_gid5', base_channels=40, prune=prune),
        head=dict(type='DNASHead', num_classes=5),
    )
    assert parameters(model) == count


@pytest.mark.parametrize('layers', [12, 14])
@pytest.mark.parametrize('prune', [True, False])
def test_agrees_with_the_released_code(shared, build_segmentor, layers, prune):
    recorded = np.load(shared / f'reference/retrain_l{layers}_b8.npz', allow_pickle=False)
    name = f'dnas_l{layers}_gid5'
    model = build_segmentor(
        backbone=dict(architecture=name, base_channels=8, prune=prune),
        head=dict(type='DNASHead', num_classes=5),
    ).eval()
    weights = load_weights(shared / f'reference/retrain_l{layers}_b8.pth.tar')
    load_exactly(model, from_authors(weights, load_architecture(name), prune).state_dict, name)
    image = torch.from_numpy(recorded['input'])
    with torch.no_grad():
        logits = F.interpolate(model(image), image.shape[2:], mode='bilinear', align_corners=True)
    difference = np.linalg.norm(logits.numpy() - recorded['output'])
    assert difference / np.linalg.norm(recorded['output']) < 1e-5


def test_batch_size_1_does_not_update_statistics_of_pooled_maps():
    """A single value per channel has no variance."""
    backbone = DNAS('dnas_l14_gid5', base_channels=2)
    pooled = [m for m in backbone.modules() if type(m).__name__ == 'GlobalAveragePool']
    assert pooled
    before = [m[1].running_mean.clone() for m in pooled]
    backbone.train()(torch.randn(1, 4, 64, 64))
    assert all(torch.equal(m[1].running_mean, b) for m, b in zip(pooled, before, strict=True))
    backbone.train()(torch.randn(2, 4, 64, 64))
    assert not any(torch.equal(m[1].running_mean, b) for m, b in zip(pooled, before, strict=True))


def test_a_wrong_number_of_bands_raises():
    with pytest.raises(ValueError, match='3 bands, but DNAS has in_channels=4'):
        DNAS('dnas_l12_gid5', base_channels=2)(torch.randn(1, 3, 64, 64))


def test_a_wrong_level_or_width_raises():
    path = dict(format=1, space='dnas', level='path', name='p', layers=2, path=[0, 1])
    with pytest.raises(ArchitectureError, match="is of level 'path', but backbone DNAS needs"):
        DNAS(path)
    with pytest.raises(ValueError, match='an even number'):
        DNAS('dnas_l12_gid5', base_channels=5)


def test_a_model_can_be_copied():
    """Averaging of weights (EMA) copies it."""
    backbone = DNAS('dnas_l12_gid5', base_channels=2).eval()
    image = torch.randn(1, 4, 64, 64)
    again = copy.deepcopy(backbone)
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(backbone(image), again(image), strict=True))


@pytest.mark.parametrize('layers', [12, 14])
def test_training_on_a_single_small_image(build_segmentor, layers):
    model = build_segmentor(backbone=dict(architecture=f'dnas_l{layers}_gid5'))
    label = torch.randint(0, 5, (1, 33, 33))
    sample = SegDataSample(gt_sem_seg=PixelData(data=label))
    loss = model.loss(torch.randn(1, 4, 33, 33), [sample])['decode.loss_ce']
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_a_batch_without_labels_has_zero_loss(build_segmentor):
    model = build_segmentor()
    samples = []
    for _ in range(2):
        sample = SegDataSample(gt_sem_seg=PixelData(data=torch.full((1, 64, 64), 255)))
        samples.append(sample)
    losses = model.loss(torch.randn(2, 4, 64, 64), samples)
    assert losses['decode.loss_ce'].item() == 0
    losses['decode.loss_ce'].backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
