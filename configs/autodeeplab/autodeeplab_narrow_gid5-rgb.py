# A network of a size for CPUs: 4 filters, a narrow stem and decoder, crops of 128. For searches
# (`dnas search autodeeplab --config` this) and what is compared with them.
_base_ = [
    '../_base_/models/autodeeplab.py',
    '../_base_/datasets/gid5_rgb.py',
    '../_base_/schedules/adamw_ema.py',
    '../_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(mean={{_base_.band_mean}}, std={{_base_.band_std}}),
    backbone=dict(in_channels=3, filters=4, stem_channels=(16, 16, 32)),
    decode_head=dict(
        channels=32, low_level_channels=16, rates=(3, 6, 9), loss_decode={{_base_.losses}}
    ),
)
supernet = dict(layers=6, filters=4, blocks=3)
train_cfg = dict(max_epochs=13, val_interval=1)
