# GID-5 in 512 x 512 tiles, as dnas convert cuts them.
dataset_type = 'GID5Dataset'
data_root = 'data/gid5'
crop_size = (512, 512)

train_pipeline = [
    dict(type='LoadRasterFromFile'),
    dict(type='LoadRasterAnnotations'),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
val_pipeline = [
    dict(type='LoadRasterFromFile'),
    dict(type='LoadRasterAnnotations'),
    dict(type='PackSegInputs'),
]
# For inference: no annotations (mmseg's inference API builds this one).
test_pipeline = [dict(type='LoadRasterFromFile'), dict(type='PackSegInputs')]

train_dataloader = dict(
    batch_size=2,
    num_workers=2,
    # Workers restart with every epoch, seeded by it: a resumed run is exact (EpochSeedHook).
    worker_init_fn=dict(type='seed_worker'),
    drop_last=True,  # a last batch of one crashes stock heads with image pooling
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type, data_root=data_root, ann_file='train.txt', pipeline=train_pipeline
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='val.txt',
        pipeline=val_pipeline,
        test_mode=True,
    ),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='test.txt',
        pipeline=val_pipeline,
        test_mode=True,
    ),
)
val_evaluator = dict(type='ConfusionMetric')
test_evaluator = dict(type='ConfusionMetric', by_scene=True)
