# On 215 real tiles, as long as dnas_l12_crop128_naip.py takes on the same core.
_base_ = [
    '../_base_/models/fcn_hr18s.py',
    '../_base_/datasets/naip_rgbn_crop128.py',
    '../_base_/schedules/dnas_200e.py',
    '../_base_/default_runtime.py',
]
model = dict(data_preprocessor=dict(mean={{_base_.band_mean}}, std={{_base_.band_std}}))
train_cfg = dict(max_epochs=28, val_interval=4)
param_scheduler = dict(T_max=28)
