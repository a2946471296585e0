import pytest
from mmengine.config import ConfigDict
from mmseg.registry import MODELS


@pytest.fixture
def build_segmentor():
    """Builds a small DNAS segmentor; keyword arguments change its config."""

    def build(backbone=None, head=None, **kwargs):
        config = dict(
            type='SearchedEncoderDecoder',
            data_preprocessor=dict(
                type='MultiBandDataPreProcessor', mean=[100.0] * 4, std=[50.0] * 4
            ),
            backbone=dict(type='DNAS', architecture='dnas_l12_gid5', base_channels=4),
            decode_head=dict(
                type='DNASHead',
                num_classes=5,
                channels=16,
                loss_decode=dict(type='LabelledCrossEntropyLoss'),
            ),
            train_cfg=dict(),
            test_cfg=dict(mode='whole'),
        )
        config['backbone'].update(backbone or {})
        if config['backbone']['architecture'] is None:
            del config['backbone']['architecture']
        if head is not None:
            config['decode_head'] = head
        config.update(kwargs)
        return MODELS.build(ConfigDict(config))

    return build
