# The search in the space of MobileNetV2 blocks. A space of one's own: `supernet = dict(widths=...,
# strides=..., depths=..., window=...)` in the config that is given to dnas search.
_base_ = [
    '../_base_/models/densenas.py',
    '../_base_/datasets/gid5.py',
    '../_base_/schedules/densenas_search.py',
    '../_base_/default_runtime.py',
]
model = dict(backbone=dict(_delete_=True, type='DenseNASSupernet', in_channels=4))
# Half A of the training set trains the weights; ArchitectureSearchHook takes half B.
train_dataloader = dict(sampler=dict(type='HalfSampler', shuffle=True))
# A supernet's own score says little; its loss on half B is in the log.
val_cfg = None
val_dataloader = None
val_evaluator = None
default_hooks = dict(checkpoint=dict(save_best=None))
