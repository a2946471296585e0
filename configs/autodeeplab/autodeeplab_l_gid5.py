_base_ = './autodeeplab_s_gid5.py'
model = dict(backbone=dict(filters=48))
