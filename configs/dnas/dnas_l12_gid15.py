_base_ = './dnas_l14_gid15.py'
model = dict(backbone=dict(architecture='dnas_l12_gid5'))
