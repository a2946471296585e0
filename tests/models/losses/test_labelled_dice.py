import pytest
import torch
from mmseg.registry import MODELS


@pytest.fixture
def batch():
    label = torch.randint(0, 4, (2, 9, 7))
    label[:, :3] = 255
    return torch.randn(2, 5, 9, 7, requires_grad=True), label


@pytest.fixture
def loss():
    return MODELS.build(dict(type='LabelledDiceLoss'))


def test_loss_is_one_minus_the_mean_dice_of_present_classes(loss, batch):
    logits, label = batch
    labelled = label != 255
    probabilities = logits.softmax(1).permute(0, 2, 3, 1)[labelled]
    truth = torch.nn.functional.one_hot(label[labelled], 5)
    hits = (probabilities * truth).sum(0)
    dice = 2 * hits / ((probabilities**2).sum(0) + truth.sum(0))
    torch.testing.assert_close(loss(logits, label), 1 - dice[:4].mean())  # class 4 does not occur


@pytest.mark.parametrize('kind', ['LabelledDiceLoss', 'LabelledCrossEntropyLoss'])
def test_another_index_to_ignore_is_ignored_in_addition_to_255(kind, batch):
    logits, label = batch
    loss = MODELS.build(dict(type=kind))
    expected = loss(logits, label.masked_fill(label == 0, 255))
    torch.testing.assert_close(loss(logits, label, ignore_index=0), expected)


def test_perfect_predictions_have_zero_loss_and_unlabelled_pixels_are_ignored(loss, batch):
    logits, label = batch
    perfect = 50 * torch.nn.functional.one_hot(label.clamp(max=4), 5).permute(0, 3, 1, 2).float()
    assert loss(perfect, label) < 1e-6
    changed = torch.where((label == 255)[:, None], 9.0, logits)
    torch.testing.assert_close(loss(changed, label), loss(logits, label))


def test_batch_without_labels_has_zero_loss_and_gradient(loss, batch):
    logits, label = batch
    value = loss(logits, torch.full_like(label, 255))
    assert value.item() == 0
    value.backward()
    assert (logits.grad == 0).all()


def test_half_precision_is_computed_in_single_precision(loss, batch):
    logits, label = batch
    low = loss(logits.detach().bfloat16(), label)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, loss(logits, label), atol=5e-3, rtol=0)


def test_pixels_with_weight_zero_are_ignored(loss, batch):
    logits, label = batch
    weight = torch.ones(2, 9, 7)
    weight[:, :, 3] = 0
    left_out = torch.where(weight == 0, 255, label)
    torch.testing.assert_close(loss(logits, label, weight=weight), loss(logits, left_out))


@pytest.mark.parametrize('name', ['LabelledDiceLoss', 'LabelledCrossEntropyLoss'])
def test_many_pixels_in_half_precision(name):
    # The sum over 2 x 260 x 260 pixels overflows float16.
    label = torch.randint(0, 5, (2, 260, 260))
    logits = torch.randn(2, 5, 260, 260).half()
    loss = MODELS.build(dict(type=name))
    torch.testing.assert_close(loss(logits, label), loss(logits.float(), label))
