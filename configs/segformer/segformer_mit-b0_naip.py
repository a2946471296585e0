# SegFormer MiT-B0 from scratch on real 4-band tiles; not trained yet.
_base_ = [
    '../_base_/models/segformer_mit-b0.py',
    '../_base_/datasets/naip_rgbn_crop128.py',
    '../_base_/schedules/adamw_ema.py',
    '../_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(mean={{_base_.band_mean}}, std={{_base_.band_std}}),
    decode_head=dict(loss_decode={{_base_.losses}}),
)
train_cfg = dict(max_epochs=28, val_interval=6)
