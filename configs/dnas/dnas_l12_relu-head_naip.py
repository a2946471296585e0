# DNAS L=12 with ReLU in its head, which the published one has not.
_base_ = './dnas_l12_naip.py'
model = dict(decode_head=dict(act_cfg=dict(type='ReLU')))
