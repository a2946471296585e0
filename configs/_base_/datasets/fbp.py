# Five-Billion-Pixels in 512 x 512 tiles, as dnas convert cuts them.
_base_ = './gid5.py'
tiles = dict(type='FBPDataset', data_root='data/fbp')
train_dataloader = dict(dataset=tiles)
val_dataloader = dict(dataset=tiles)
test_dataloader = dict(dataset=tiles)
