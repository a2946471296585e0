# On Cityscapes, as published, in crops of 769.
_base_ = [
    '../_base_/models/autodeeplab.py',
    '../_base_/datasets/cityscapes.py',
    '../_base_/schedules/autodeeplab.py',
    '../_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(
        _delete_=True,
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(769, 769),
    ),
    backbone=dict(in_channels=3, drop_path=0.2),  # the rate is chosen here
    decode_head=dict(num_classes=19),
)
