# Retraining of Auto-DeepLab: SGD, polynomial learning rate from 0.05, branches dropped more and
# more often (as published), up to backbone.drop_path. Epochs and weight decay are chosen here.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=4e-5),
)
param_scheduler = dict(
    type='PolyLR', power=0.9, eta_min=0, begin=0, end=200, by_epoch=True, convert_to_iter_based=True
)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=200, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
custom_hooks = [dict(type='ScheduledDropPathHook')]

# Several GPUs: `tools/dist_train.sh CONFIG GPUS --sync-bn --auto-scale-lr`.
# The learning rate is meant for the batch of one GPU below; enabled, it grows with the real batch.
auto_scale_lr = dict(enable=False, base_batch_size=2)
