# Stage 2: connections in addition to the core path, the released one unless another is named.
_base_ = './dnas_l14_path-search_gid5.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='DNASConnectionSupernet',
        architecture='dnas_l14_gid5@path',
        in_channels=4,
    ),
)
