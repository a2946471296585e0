# The search in the space of ResNet blocks: architecture steps from a seventh of the epochs on.
_base_ = './densenas_search_gid5.py'
model = dict(
    backbone=dict(
        block='basic',
        widths=(
            (32,),
            (48, 56, 64),
            (72, 96, 112),
            (128, 144, 160, 176),
            (192, 208, 224),
            (240, 256, 272, 288),
            (480, 496, 512),
        ),
        depths=(0, 0, 5, 15, 5, 5, 1),
        window=10,
        temperature=0.9,
    )
)
train_cfg = dict(max_epochs=70)
param_scheduler = dict(T_max=70)
custom_hooks = [
    dict(
        type='ArchitectureSearchHook',
        arch_start=1 / 7,
        optimizer=dict(type='Adam', lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3),
    )
]
