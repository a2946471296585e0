_base_ = [
    '../_base_/models/fcn_hr18s.py',
    '../_base_/datasets/naip_rgbn_crop128.py',
    '../_base_/schedules/dnas_200e.py',
    '../_base_/default_runtime.py',
]
model = dict(data_preprocessor=dict(mean={{_base_.band_mean}}, std={{_base_.band_std}}))
