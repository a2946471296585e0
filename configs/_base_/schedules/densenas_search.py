# The search as published for MobileNetV2 blocks: 150 epochs, architecture steps from the 50th, a
# cosine to 1e-4, Adam for the architecture; but SGD from 0.025, for batches of tiles (published:
# 0.2 on ImageNet). To change: train_cfg.max_epochs, param_scheduler.T_max.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.025, momentum=0.9, weight_decay=4e-5),
)
param_scheduler = dict(
    type='CosineAnnealingLR', T_max=150, eta_min=1e-4, by_epoch=True, convert_to_iter_based=True
)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=150)
test_cfg = dict(type='TestLoop')
custom_hooks = [
    dict(
        type='ArchitectureSearchHook',
        arch_start=1 / 3,
        optimizer=dict(type='Adam', lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3),
    )
]
# In a step only some operations take part.
find_unused_parameters = True

# Several GPUs: `tools/dist_train.sh CONFIG GPUS --sync-bn --auto-scale-lr`.
# The learning rate is meant for the batch of one GPU below; enabled, it grows with the real batch.
auto_scale_lr = dict(enable=False, base_batch_size=2)
