# DNAS L=14, as it was searched on GID-5, on GID-15: ten scenes in 15 classes.
_base_ = [
    '../_base_/models/dnas.py',
    '../_base_/datasets/gid15.py',
    '../_base_/schedules/dnas_200e.py',
    '../_base_/default_runtime.py',
]
model = dict(decode_head=dict(num_classes=15))
