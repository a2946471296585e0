# The search on Cityscapes, as published: crops of 321, half of the training images each for weights
# and architecture.
_base_ = [
    '../_base_/models/autodeeplab_search.py',
    '../_base_/datasets/cityscapes.py',
    '../_base_/schedules/autodeeplab_search.py',
    '../_base_/default_runtime.py',
]
crop_size = (321, 321)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(2049, 1025), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
model = dict(
    data_preprocessor=dict(
        _delete_=True,
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=crop_size,
    ),
    backbone=dict(in_channels=3),
    decode_head=dict(num_classes=19),
)
train_dataloader = dict(
    sampler=dict(type='HalfSampler', shuffle=True), dataset=dict(pipeline=train_pipeline)
)
val_cfg = None
val_dataloader = None
val_evaluator = None
default_hooks = dict(checkpoint=dict(save_best=None))
