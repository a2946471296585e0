# The search: paths and cells at once, in crops of 321, with the published schedule.
_base_ = [
    '../_base_/models/autodeeplab_search.py',
    '../_base_/datasets/gid5.py',
    '../_base_/schedules/autodeeplab_search.py',
    '../_base_/default_runtime.py',
]
crop_size = (321, 321)
train_pipeline = [
    dict(type='LoadRasterFromFile'),
    dict(type='LoadRasterAnnotations'),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
# Half A of the training set trains the weights; ArchitectureSearchHook takes half B.
train_dataloader = dict(
    sampler=dict(type='HalfSampler', shuffle=True), dataset=dict(pipeline=train_pipeline)
)
# A supernet's own score says little; its loss on half B is in the log.
val_cfg = None
val_dataloader = None
val_evaluator = None
default_hooks = dict(checkpoint=dict(save_best=None))
