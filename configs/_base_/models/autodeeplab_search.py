# The supernet of the search, with an atrous pyramid at each stride.
_base_ = './autodeeplab.py'
model = dict(
    backbone=dict(
        _delete_=True, type='AutoDeepLabSupernet', layers=12, filters=8, blocks=5, in_channels=4
    ),
    decode_head=dict(type='AutoDeepLabSearchHead'),
)
