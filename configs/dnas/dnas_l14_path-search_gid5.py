# Stage 1 of the search: the scale of every layer. The later stages inherit this file.
_base_ = './dnas_l14_gid5.py'
model = dict(backbone=dict(_delete_=True, type='DNASPathSupernet', layers=14, in_channels=4))
# Half A of the training set trains the weights; ArchitectureSearchHook takes half B.
train_dataloader = dict(sampler=dict(type='HalfSampler', shuffle=True))
# Architecture steps from a third of the epochs on. To change: train_cfg.max_epochs and T_max.
custom_hooks = [dict(type='ArchitectureSearchHook')]
train_cfg = dict(max_epochs=60)
param_scheduler = dict(T_max=60)
# A supernet's own score says little; its loss on half B is in the log.
val_cfg = None
val_dataloader = None
val_evaluator = None
default_hooks = dict(checkpoint=dict(save_best=None))
