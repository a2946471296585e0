# Auto-DeepLab as published, with its decoder, for four bands; filters 20, 32, 48 are S, M, L.
_base_ = './multi_band.py'
model = dict(
    type='SearchedEncoderDecoder',
    backbone=dict(type='AutoDeepLab', architecture='autodeeplab', filters=20, in_channels=4),
    decode_head=dict(
        type='AutoDeepLabHead', num_classes=5, loss_decode=dict(type='LabelledCrossEntropyLoss')
    ),
)
