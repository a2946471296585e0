import torch
from mmseg.registry import MODELS

from .conftest import STEM_CHANNELS

LOSS = dict(type='LabelledCrossEntropyLoss')


def test_the_search_head_reads_all_strides():
    model = MODELS.build(
        dict(
            type='SearchedEncoderDecoder',
            backbone=dict(
                type='AutoDeepLabSupernet', layers=3, filters=2, blocks=1,
                stem_channels=STEM_CHANNELS,
            ),
            decode_head=dict(
                type='AutoDeepLabSearchHead', channels=6, num_classes=5, loss_decode=LOSS
            ),
            train_cfg=dict(), test_cfg=dict(mode='whole'),
        )
    ).train()  # fmt: skip
    head = model.decode_head
    assert [pyramid[1][0].dilation for pyramid in head.pyramids] == [(r, r) for r in (24, 12, 6, 3)]
    assert [pyramid[0][0].out_channels for pyramid in head.pyramids] == [2, 4, 8, 16]
    logits = model(torch.randn(1, 4, 32, 48))  # batch size 1 with 1 x 1 maps
    assert logits.shape == (1, 5, 8, 12)
    logits.sum().backward()
    weights = [p for p in model.parameters() if p.requires_grad]
    assert all(p.grad is not None for p in weights)
