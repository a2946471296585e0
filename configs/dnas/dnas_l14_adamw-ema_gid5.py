# DNAS L=14 by the recipe for one's own tiles: what a search without `--config` retrains with.
_base_ = [
    '../_base_/models/dnas.py',
    '../_base_/datasets/gid5.py',
    '../_base_/schedules/adamw_ema.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(architecture='dnas_l14_gid5'), decode_head=dict(loss_decode={{_base_.losses}})
)
