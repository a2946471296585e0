# DenseNAS-A by the recipe for one's own tiles: what a search without `--config` retrains with.
_base_ = [
    '../_base_/models/densenas.py',
    '../_base_/datasets/gid5.py',
    '../_base_/schedules/adamw_ema.py',
    '../_base_/default_runtime.py',
]
model = dict(decode_head=dict(loss_decode={{_base_.losses}}))
