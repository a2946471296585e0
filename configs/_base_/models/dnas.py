# A searched DNAS network with its head. Which one is the backbone's `architecture`.
_base_ = './multi_band.py'
model = dict(
    type='SearchedEncoderDecoder',
    backbone=dict(type='DNAS', architecture='dnas_l14_gid5', in_channels=4, base_channels=40),
    decode_head=dict(
        type='DNASHead', num_classes=5, loss_decode=dict(type='LabelledCrossEntropyLoss')
    ),
)
