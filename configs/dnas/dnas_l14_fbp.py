# DNAS L=14, as it was searched on GID-5, on Five-Billion-Pixels: GID-5's scenes in 24 classes.
_base_ = [
    '../_base_/models/dnas.py',
    '../_base_/datasets/fbp.py',
    '../_base_/schedules/dnas_200e.py',
    '../_base_/default_runtime.py',
]
model = dict(decode_head=dict(num_classes=24))
