_base_ = [
    '../_base_/models/autodeeplab.py',
    '../_base_/datasets/gid5.py',
    '../_base_/schedules/autodeeplab.py',
    '../_base_/default_runtime.py',
]
model = dict(backbone=dict(drop_path=0.2))  # at the end, of the last layer; the rate is chosen here
