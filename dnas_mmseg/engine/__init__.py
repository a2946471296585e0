"""Training infrastructure: hooks, samplers, schedules, initialisation, checkpoint loading."""

from .hooks import (
    AtomicCheckpointHook,
    CompileHook,
    EpochSeedHook,
    FiniteLossHook,
    UnseenClassesHook,
    ValidateOnResumeHook,
)
from .initialization import MultiBandPretrained
from .safe_loading import allow_checkpoint_globals, register_safe_loaders
from .sampling import HalfSampler, seed_worker
from .schedulers import ClampedCosineLR
from .weight_average import ForeachMomentumAnnealingEMA

__all__ = [
    'AtomicCheckpointHook',
    'ClampedCosineLR',
    'CompileHook',
    'EpochSeedHook',
    'FiniteLossHook',
    'ForeachMomentumAnnealingEMA',
    'HalfSampler',
    'MultiBandPretrained',
    'UnseenClassesHook',
    'ValidateOnResumeHook',
    'allow_checkpoint_globals',
    'register_safe_loaders',
    'seed_worker',
]
