"""The decoder of U-Net on any backbone."""

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from dnas_mmseg.errors import UserError
from dnas_mmseg.models import UNetHead

from ...conftest import import_timm

CHANNELS = (16, 24, 40, 112, 320)


def features(height, width, channels=CHANNELS, batch=2):
    """Feature maps at strides 2, 4, ..."""
    return [
        torch.randn(batch, c, -(-height // 2**i), -(-width // 2**i))
        for i, c in enumerate(channels, 1)
    ]


def segmentor(backbone):
    return MODELS.build(
        dict(
            type='SearchedEncoderDecoder',
            backbone=backbone,
            decode_head=dict(type='UNetHead', num_classes=5, decoder_channels=None),
            train_cfg=dict(),
            test_cfg=dict(mode='whole'),
        )
    )


@pytest.mark.parametrize('size', [(64, 96), (65, 33), (2, 2)])
def test_logits_have_the_size_of_the_finest_map(size):
    head = UNetHead(CHANNELS, num_classes=5).eval()
    maps = features(*size)
    assert head(maps).shape == (2, 5, *maps[0].shape[2:])


def test_every_map_influences_the_logits():
    head = UNetHead(CHANNELS, num_classes=3).eval()
    maps = [x.requires_grad_() for x in features(32, 32)]
    head(maps).sum().backward()
    assert all(x.grad.abs().sum() > 0 for x in maps)


def test_a_batch_of_one_pixel_can_be_trained():
    head = UNetHead((4, 8, 16), num_classes=3).train()
    head(features(2, 2, (4, 8, 16), batch=1)).sum().backward()
    assert all(p.grad.isfinite().all() for p in head.parameters() if p.grad is not None)


def test_inputs_and_stages_must_agree():
    with pytest.raises(UserError, match=r'are 1 inputs .* needs at least 2 inputs'):
        UNetHead([8], num_classes=2)
    with pytest.raises(UserError, match=r'\(8, 8, 8\) are 3 stages'):
        UNetHead([4, 8, 16], (8, 8, 8), num_classes=2)
    head = UNetHead([4, 8], num_classes=2, in_index=[1, 0])
    with pytest.raises(UserError, match=r'finest first, but their sizes are \[\(8, 8\), \(16, 16'):
        head(features(32, 32, (8, 4)))


@pytest.mark.parametrize(('bands', 'size'), [(1, (32, 32)), (3, (97, 65)), (13, (33, 32))])
@pytest.mark.parametrize(
    'backbone',
    [
        dict(type='DenseNAS', architecture='efficientnet_lite0', out_indices=(0, 1, 2, 3, 4)),
        dict(type='DenseNAS', architecture='densenas_a', out_indices=(0, 1, 2, 3, 4)),
        dict(type='TIMMEncoder', model_name='resnet18'),
    ],
    ids=lambda backbone: backbone.get('architecture', 'timm'),
)
def test_segmentors_train_on_any_bands_and_sizes_at_batch_size_1(backbone, bands, size):
    """Maps of 32 x 32 images have a single value per channel at stride 32."""
    if backbone['type'] == 'TIMMEncoder':
        import_timm()
    model = segmentor(dict(backbone, in_channels=bands)).train()
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.randint(0, 5, (1, *size))))
    loss = model.loss(torch.randn(1, bands, *size), [sample])['decode.loss_ce']
    loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(
    'backbone',
    [
        dict(type='DenseNAS', architecture='efficientnet_lite0', out_indices=(0, 1, 2, 3, 4)),
        dict(type='DNAS', architecture='dnas_l12_gid5', base_channels=4),
        dict(type='ResNetV1c', depth=18, in_channels=4),
        dict(type='MixVisionTransformer', in_channels=4, embed_dims=8, num_heads=[1, 2, 2, 2]),
    ],
    ids=lambda backbone: backbone['type'],
)
def test_it_takes_any_backbone_without_channels_in_the_config(backbone):
    model = segmentor(backbone).eval()
    image = torch.randn(1, 4, 64, 96)
    with torch.no_grad():
        finest = model.backbone(image)[0].shape[2:]
        assert model._forward(image).shape == (1, 5, *finest)
