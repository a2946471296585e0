_base_ = './dnas_l14_path-search_gid5.py'
model = dict(backbone=dict(layers=12))
