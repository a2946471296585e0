# A network and a space of a size for CPUs, crops of 128. For searches (`dnas search densenas
# --config` this) and what is compared with them. The architecture is replaced.
_base_ = [
    '../_base_/models/densenas.py',
    '../_base_/datasets/gid5_rgb.py',
    '../_base_/schedules/adamw_ema.py',
    '../_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(mean={{_base_.band_mean}}, std={{_base_.band_std}}),
    backbone=dict(in_channels=3),
    decode_head=dict(
        channels=48, dilations=(1, 3, 6), c1_channels=16, loss_decode={{_base_.losses}}
    ),
)
supernet = dict(
    widths=((12,), (16, 20), (24, 28, 32), (40, 48, 56), (64, 80)),
    strides=(2, 4, 8, 16, 32),
    depths=(0, 2, 2, 2, 1),
)
train_cfg = dict(max_epochs=13, val_interval=1)
