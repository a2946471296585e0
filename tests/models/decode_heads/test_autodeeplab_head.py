import torch

from dnas_mmseg.models import AutoDeepLabHead

LOSS = dict(type='LabelledCrossEntropyLoss')


def test_aspp_reads_the_coarse_feature_and_the_convolutions_both():
    head = AutoDeepLabHead(
        [6, 12], channels=8, num_classes=3, rates=(2, 5), low_level_channels=4, loss_decode=LOSS
    ).eval()
    assert len(head.pyramid) == 4  # 1x1, two rates, global pooling
    assert [branch[0].dilation for branch in head.pyramid] == [(1, 1), (2, 2), (5, 5), (1, 1)]
    fine, coarse = torch.randn(1, 6, 16, 20), torch.randn(1, 12, 4, 5)
    logits = head([fine, coarse])
    assert logits.shape == (1, 3, 16, 20)
    # A fine pixel affects two 3x3 convolutions, a coarse one all logits (global pooling).
    spot = fine.clone()
    spot[..., 8, 10] += 5
    changed = (head([spot, coarse]) != logits).any(1)[0].nonzero() - torch.tensor([8, 10])
    assert changed.abs().max() == 2
    spot = coarse.clone()
    spot[..., 0, 0] += 5
    assert (head([fine, spot]) != logits).any(1).double().mean() > 0.9  # ReLUs may hide it


def test_training_with_a_single_image():
    head = AutoDeepLabHead([2, 4], channels=4, num_classes=2, out_channels=2, loss_decode=LOSS)
    head.train()([torch.randn(1, 2, 8, 8), torch.randn(1, 4, 2, 2)]).sum().backward()
    unread = {name for name, p in head.named_parameters() if p.grad is None}
    assert not unread
