_base_ = [
    '../_base_/models/densenas.py',
    '../_base_/datasets/gid5.py',
    '../_base_/schedules/dnas_200e.py',
    '../_base_/default_runtime.py',
]
