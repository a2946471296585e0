# A network of a size for CPUs: L=12 at base 16, a narrow head with ReLU, crops of 128 as of L=14.
# For searches (`tools/search.py dnas --layers 8 --config` this) and what is compared with them.
_base_ = './dnas_l14_naip.py'
model = dict(
    backbone=dict(architecture='dnas_l12_gid5', base_channels=16),
    decode_head=dict(channels=64, act_cfg=dict(type='ReLU')),
)
train_cfg = dict(max_epochs=60)
param_scheduler = dict(T_max=60)
