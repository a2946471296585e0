# Retraining of DNAS: SGD, 200 epochs, cosine per iteration to 0 but never below 1e-3.
# To train for another number of epochs set train_cfg.max_epochs and param_scheduler.T_max.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.025, momentum=0.9, weight_decay=3e-4),
)
param_scheduler = dict(
    type='ClampedCosineLR', T_max=200, min_lr=1e-3, by_epoch=True, convert_to_iter_based=True
)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=200, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

# Several GPUs: `tools/dist_train.sh CONFIG GPUS --sync-bn --auto-scale-lr`.
# The learning rate is meant for the batch of one GPU below; enabled, it grows with the real batch.
auto_scale_lr = dict(enable=False, base_batch_size=2)
