# A searched DNAS network with its head. Which one is the backbone's `architecture`.
# Normalisation as in the paper: x / 255, then these, in the file's order (nir, red, green, blue).
data_preprocessor = dict(
    type='MultiBandDataPreProcessor',
    mean=[255 * m for m in (0.485, 0.456, 0.406, 0.411)],
    std=[255 * s for s in (0.229, 0.224, 0.225, 0.227)],
)
model = dict(
    type='SearchedEncoderDecoder',
    data_preprocessor=data_preprocessor,
    backbone=dict(type='DNAS', architecture='dnas_l14_gid5', in_channels=4, base_channels=40),
    decode_head=dict(
        type='DNASHead',
        num_classes=5,
        loss_decode=dict(type='LabelledCrossEntropyLoss'),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
