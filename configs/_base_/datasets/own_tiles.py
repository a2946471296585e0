# Tiles of your own, trained on crops of 128: lists train.txt, val.txt and test.txt in data_root. A
# leaf config sets data_root, metainfo (classes, bands) and label_convention of the three data sets;
# what dataset.json states need not be repeated.
_base_ = './gid5.py'
tiles = dict(type='MultiBandSegDataset', data_root='data/mine')
train_pipeline = [
    dict(type='LoadRasterFromFile'),
    dict(type='LoadRasterAnnotations'),
    dict(type='RandomCrop', crop_size=(128, 128)),
    # A turn by a multiple of 90 degrees with a flip, then half of them flipped back: all eight.
    dict(type='RandomRotFlip', rotate_prob=0.0, flip_prob=1.0),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(batch_size=4, dataset=dict(**tiles, pipeline=train_pipeline))
val_dataloader = dict(dataset=tiles)
test_dataloader = dict(dataset=tiles)
