# Stage 3: the operations of every node, on the released connections unless others are named.
_base_ = './dnas_l14_path-search_gid5.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='DNASCellSupernet',
        architecture='dnas_l14_gid5@connection',
        in_channels=4,
    ),
)
