# The search as published: 40 epochs, architecture steps in the second half, SGD with a cosine from
# 0.025 to 0.001, Adam for the architecture. To change: train_cfg.max_epochs, param_scheduler.T_max.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.025, momentum=0.9, weight_decay=3e-4),
)
param_scheduler = dict(
    type='CosineAnnealingLR', T_max=40, eta_min=1e-3, by_epoch=True, convert_to_iter_based=True
)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=40)
test_cfg = dict(type='TestLoop')
custom_hooks = [
    dict(
        type='ArchitectureSearchHook',
        arch_start=0.5,
        optimizer=dict(type='Adam', lr=3e-3, betas=(0.9, 0.999), weight_decay=1e-3),
    )
]

# Several GPUs: `tools/dist_train.sh CONFIG GPUS --sync-bn --auto-scale-lr`.
# The learning rate is meant for the batch of one GPU below; enabled, it grows with the real batch.
auto_scale_lr = dict(enable=False, base_batch_size=2)
