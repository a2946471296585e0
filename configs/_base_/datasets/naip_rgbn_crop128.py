# The same tiles, trained on quarters of them: more steps in the same time.
_base_ = './naip_rgbn.py'
train_pipeline = [
    dict(type='LoadRasterFromFile'),
    dict(type='LoadRasterAnnotations'),
    dict(type='RandomCrop', crop_size=(128, 128)),
    dict(type='RandomRotFlip', rotate_prob=0.0, flip_prob=1.0),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
