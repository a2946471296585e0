# GID-15 in 512 x 512 tiles, as dnas convert cuts them.
_base_ = './gid5.py'
tiles = dict(type='GID15Dataset', data_root='data/gid15')
train_dataloader = dict(dataset=tiles)
val_dataloader = dict(dataset=tiles)
test_dataloader = dict(dataset=tiles)
