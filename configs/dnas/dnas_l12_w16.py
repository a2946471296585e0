# A starting point for tiles of your own with a searched network, and for searches of one
# (`dnas search dnas --layers 8 --config` yours): DNAS L=12 of a size for CPUs, a narrow head.
_base_ = [
    '../_base_/models/dnas.py',
    '../_base_/datasets/own_tiles.py',
    '../_base_/schedules/adamw_ema.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(architecture='dnas_l12_gid5', base_channels=16),
    decode_head=dict(channels=64, act_cfg=dict(type='ReLU'), loss_decode={{_base_.losses}}),
)
train_cfg = dict(max_epochs=60, val_interval=6)
