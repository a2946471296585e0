# A network of a size for CPUs: L=12 at base 16, a narrow head with ReLU, crops of 128. For searches
# (`tools/search.py dnas --layers 8 --config` this) and for what is compared with their results.
_base_ = './dnas_l12_relu-head_naip.py'
model = dict(backbone=dict(base_channels=16), decode_head=dict(channels=64))
train_pipeline = [
    dict(type='LoadRasterFromFile'),
    dict(type='LoadRasterAnnotations'),
    dict(type='RandomCrop', crop_size=(128, 128)),
    dict(type='RandomRotFlip', rotate_prob=0.0, flip_prob=1.0),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
train_cfg = dict(max_epochs=60, val_interval=5)
param_scheduler = dict(T_max=60)
