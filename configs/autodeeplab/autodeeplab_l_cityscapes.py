_base_ = './autodeeplab_s_cityscapes.py'
model = dict(backbone=dict(filters=48))
