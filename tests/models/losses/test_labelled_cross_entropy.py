import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS


@pytest.fixture
def batch():
    label = torch.randint(0, 5, (2, 9, 7))
    label[:, :3] = 255
    return torch.randn(2, 5, 9, 7, requires_grad=True), label


def build(**kwargs):
    return MODELS.build(dict(type='LabelledCrossEntropyLoss', **kwargs))


def test_equals_the_stock_loss_without_class_weights(batch):
    stock = MODELS.build(dict(type='CrossEntropyLoss', avg_non_ignore=True, loss_weight=0.4))
    torch.testing.assert_close(build(loss_weight=0.4)(*batch), stock(*batch, ignore_index=255))


def test_equals_the_weighted_mean_of_torch(batch):
    weights = [4.6, 1.0, 0.8, 0.4, 13.3]
    expected = F.cross_entropy(*batch, torch.tensor(weights), ignore_index=255)
    torch.testing.assert_close(build(class_weight=weights)(*batch), expected)


@pytest.mark.parametrize('weights', [None, [1.0, 2.0, 3.0, 4.0, 0.0]])
def test_batch_without_labels_has_zero_loss_and_gradient(batch, weights):
    logits, label = batch
    loss = build(class_weight=weights)(logits, torch.full_like(label, 255))
    assert loss.item() == 0
    loss.backward()
    assert (logits.grad == 0).all()


def test_pixel_weights_scale_each_pixel(batch):
    logits, label = batch
    weight = torch.rand(2, 9, 7)
    single = F.cross_entropy(logits, label, ignore_index=255, reduction='none')
    expected = (single * weight).sum() / (label != 255).sum()
    torch.testing.assert_close(build()(logits, label, weight=weight), expected)


def test_supports_hard_pixel_mining(batch):
    head = MODELS.build(
        dict(
            type='FCNHead',
            in_channels=4,
            channels=4,
            num_classes=5,
            loss_decode=dict(type='LabelledCrossEntropyLoss'),
            sampler=dict(type='OHEMPixelSampler', min_kept=30),
        )
    )
    logits, label = batch
    weight = head.sampler.sample(logits, label[:, None])
    assert 0 < weight.sum() < weight.numel()
