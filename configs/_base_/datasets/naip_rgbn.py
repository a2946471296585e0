# 215 NAIP tiles of 256 x 256, 0.6 m, as benchmarks/naip.py sorts them.
_base_ = './gid5.py'
tiles = dict(
    data_root='data/naip_rgbn',
    metainfo=dict(bands=('red', 'green', 'blue', 'nir')),
    label_convention='index',
)
train_pipeline = [
    dict(type='LoadRasterFromFile'),
    dict(type='LoadRasterAnnotations'),
    # A turn by a multiple of 90 degrees with a flip, then half of them flipped back: all eight.
    dict(type='RandomRotFlip', rotate_prob=0.0, flip_prob=1.0),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(batch_size=4, dataset=dict(**tiles, pipeline=train_pipeline))
val_dataloader = dict(dataset=tiles)
test_dataloader = dict(dataset=tiles)
# Of the training tiles, for a model's data_preprocessor.
band_mean = [131.28, 142.08, 106.35, 209.31]
band_std = [44.23, 33.07, 26.65, 32.69]
