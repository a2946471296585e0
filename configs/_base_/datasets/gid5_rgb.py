# Public crops of GID-5 with its labels: 1,029 of 224 x 224 at 4 m, red, green, blue, of GID-MTL5
# (github.com/XiangtaoZheng/GID-MTL), as lists of images and labels in GID-5's classes by index.
_base_ = './naip_rgbn_crop128.py'
tiles = dict(data_root='data/gid5_rgb', metainfo=dict(bands=('red', 'green', 'blue')))
train_dataloader = dict(dataset=tiles)
val_dataloader = dict(dataset=tiles)
test_dataloader = dict(dataset=tiles)
# Of the training crops, for a model's data_preprocessor.
band_mean = [89.51, 98.30, 91.05]
band_std = [61.47, 59.41, 59.66]
