# Five to ten minutes of one CPU core on real 4-band tiles: benchmarks/accuracy.md.
_base_ = './dnas_l14_naip.py'
model = dict(backbone=dict(architecture='dnas_l12_gid5'))
train_cfg = dict(max_epochs=22, val_interval=2)
