# DNAS L=12 from scratch on 215 real tiles (R, G, B, NIR at 0.6 m): a config for one's own data.
_base_ = [
    '../_base_/models/dnas.py',
    '../_base_/datasets/naip_rgbn.py',
    '../_base_/schedules/adamw_ema.py',
    '../_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(mean={{_base_.band_mean}}, std={{_base_.band_std}}),
    backbone=dict(architecture='dnas_l12_gid5'),
    decode_head=dict(loss_decode={{_base_.losses}}),
)
train_cfg = dict(max_epochs=30, val_interval=5)
