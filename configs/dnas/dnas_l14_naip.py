# DNAS L=14 on the same tiles; it costs three times as much a tile.
_base_ = './dnas_l12_naip.py'
model = dict(backbone=dict(architecture='dnas_l14_gid5'))
train_dataloader = dict(batch_size=2)
train_cfg = dict(max_epochs=13, val_interval=2)
param_scheduler = dict(T_max=13)
