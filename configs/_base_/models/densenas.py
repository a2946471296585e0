# A searched DenseNAS backbone at output stride 16 with DeepLabV3+'s decoder, for four bands.
_base_ = './multi_band.py'
model = dict(
    type='SearchedEncoderDecoder',
    backbone=dict(type='DenseNAS', architecture='densenas_a', in_channels=4, output_stride=16),
    decode_head=dict(
        type='DepthwiseSeparableASPPHead',
        channels=256,
        dilations=(1, 6, 12, 18),
        c1_channels=48,
        dropout_ratio=0.1,
        num_classes=5,
        norm_cfg=dict(type='BN', requires_grad=True),
        align_corners=False,
        loss_decode=dict(type='LabelledCrossEntropyLoss'),
    ),
)
