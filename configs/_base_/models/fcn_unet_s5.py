# mmsegmentation's UNet with 16 channels at full size (published: 64), for four bands.
_base_ = './multi_band.py'
model = dict(
    # It halves four times and takes no other sizes.
    data_preprocessor=dict(size_divisor=16, test_cfg=dict(size_divisor=16)),
    backbone=dict(
        type='UNet',
        in_channels=4,
        base_channels=16,
        norm_cfg=dict(type='BN', requires_grad=True),
    ),
    decode_head=dict(
        type='FCNHead',
        in_channels=16,
        in_index=4,
        channels=16,
        num_convs=1,
        concat_input=False,
        num_classes=5,
        norm_cfg=dict(type='BN', requires_grad=True),
        align_corners=False,
        loss_decode=dict(type='LabelledCrossEntropyLoss'),
    ),
)
