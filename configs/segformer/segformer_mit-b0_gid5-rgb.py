# SegFormer MiT-B0 from scratch on public RGB crops of GID-5; not trained yet.
_base_ = [
    '../_base_/models/segformer_mit-b0.py',
    '../_base_/datasets/gid5_rgb.py',
    '../_base_/schedules/adamw_ema.py',
    '../_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(mean={{_base_.band_mean}}, std={{_base_.band_std}}),
    backbone=dict(in_channels=3),
    decode_head=dict(loss_decode={{_base_.losses}}),
)
train_cfg = dict(max_epochs=6, val_interval=1)
