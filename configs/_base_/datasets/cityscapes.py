# mmseg's own config of the data, where mmseg is installed (`mmseg::` works on one of its lines), by
# epochs and with exact resuming as all training here.
_base_ = __import__('mmseg').__path__[0] + '/.mim/configs/_base_/datasets/cityscapes_769x769.py'
train_dataloader = dict(
    persistent_workers=False,
    worker_init_fn=dict(type='seed_worker'),
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
)
