# A network of a size for CPUs: L=12 at base 16, a narrow head with ReLU. For searches
# (`tools/search.py dnas --layers 8 --config` this) and what is compared with them.
_base_ = [
    '../_base_/models/dnas.py',
    '../_base_/datasets/naip_rgbn_crop128.py',
    '../_base_/schedules/adamw_ema.py',
    '../_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(mean={{_base_.band_mean}}, std={{_base_.band_std}}),
    backbone=dict(architecture='dnas_l12_gid5', base_channels=16),
    decode_head=dict(channels=64, act_cfg=dict(type='ReLU'), loss_decode={{_base_.losses}}),
)
train_cfg = dict(max_epochs=60, val_interval=5)
