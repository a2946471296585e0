# DNAS L=14 on the same tiles. It costs three times as much a pixel, so it sees quarters of tiles.
_base_ = './dnas_l12_naip.py'
model = dict(backbone=dict(architecture='dnas_l14_gid5'))
train_pipeline = [
    dict(type='LoadRasterFromFile'),
    dict(type='LoadRasterAnnotations'),
    dict(type='RandomCrop', crop_size=(128, 128)),
    dict(type='RandomRotFlip', rotate_prob=0.0, flip_prob=1.0),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
train_cfg = dict(max_epochs=45, val_interval=5)
param_scheduler = dict(T_max=45)
