# What every config of the project shares: hooks, logging, processes.
default_scope = 'mmseg'
custom_imports = dict(imports=['dnas_mmseg'], allow_failed_imports=False)
# A config that inherits this one and sets custom_imports replaces the line above. Importing here as
# well keeps the names registered then.
__import__('dnas_mmseg')

env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=True),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='AtomicCheckpointHook', by_epoch=True, interval=1, max_keep_ckpts=2, save_best='mIoU'
    ),
    sampler_seed=dict(type='EpochSeedHook'),
    finite_loss=dict(type='FiniteLossHook'),
    unseen_classes=dict(type='UnseenClassesHook'),
    validate_on_resume=dict(type='ValidateOnResumeHook'),
)
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='MultiBandLocalVisualizer', vis_backends=vis_backends, name='visualizer')
# Pictures while validating: default_hooks.visualization = dict(type='MultiBandVisualizationHook')
log_processor = dict(by_epoch=True)
log_level = 'INFO'
load_from = None
resume = False
