# A network of a size for CPUs: L=12 at base 16, a narrow head with ReLU. For searches
# (`dnas search dnas --layers 8 --config` this) and what is compared with them.
_base_ = './dnas_l12_crop128_naip.py'
model = dict(
    backbone=dict(base_channels=16),
    decode_head=dict(channels=64, act_cfg=dict(type='ReLU')),
)
train_cfg = dict(max_epochs=60, val_interval=6)
