# What the models on four bands share.
# Normalisation as in the paper: x / 255, then these, in the file's order (nir, red, green, blue).
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='MultiBandDataPreProcessor',
        mean=[255 * m for m in (0.485, 0.456, 0.406, 0.411)],
        std=[255 * s for s in (0.229, 0.224, 0.225, 0.227)],
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
