# DNAS L=12 on quarters of tiles, as what it is compared with.
_base_ = './dnas_l14_naip.py'
model = dict(backbone=dict(architecture='dnas_l12_gid5'))
train_cfg = dict(max_epochs=22, val_interval=3)
param_scheduler = dict(T_max=22)
