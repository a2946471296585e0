_base_ = [
    '../_base_/models/deeplabv3plus_r18-d8.py',
    '../_base_/datasets/gid5.py',
    '../_base_/schedules/dnas_200e.py',
    '../_base_/default_runtime.py',
]
