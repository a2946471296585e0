# ResNet-18 with FPN on real 4-band tiles; not trained yet.
_base_ = [
    '../_base_/models/fpn_r18.py',
    '../_base_/datasets/naip_rgbn_crop128.py',
    '../_base_/schedules/adamw_ema.py',
    '../_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(mean={{_base_.band_mean}}, std={{_base_.band_std}}),
    decode_head=dict(loss_decode={{_base_.losses}}),
)
train_cfg = dict(max_epochs=28, val_interval=6)
