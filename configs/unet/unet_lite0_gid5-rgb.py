# U-Net on EfficientNet-Lite0 from ImageNet weights, on public RGB crops of GID-5:
# benchmarks/accuracy.md.
_base_ = [
    '../_base_/models/unet_lite0.py',
    '../_base_/datasets/gid5_rgb.py',
    '../_base_/schedules/adamw_ema.py',
    '../_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(mean={{_base_.band_mean}}, std={{_base_.band_std}}),
    backbone=dict(in_channels=3, init_cfg=dict(bands=('red', 'green', 'blue'))),
    decode_head=dict(loss_decode={{_base_.losses}}),
)
train_cfg = dict(max_epochs=8, val_interval=2)
# Pretrained weights need smaller steps than the head.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.3))))
