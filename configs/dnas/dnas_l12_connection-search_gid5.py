_base_ = './dnas_l14_connection-search_gid5.py'
model = dict(backbone=dict(architecture='dnas_l12_gid5@path'))
