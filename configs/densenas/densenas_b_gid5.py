_base_ = './densenas_a_gid5.py'
model = dict(backbone=dict(architecture='densenas_b'))
