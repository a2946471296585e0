"""Training infrastructure: hooks, samplers, schedules, initialisation, checkpoint loading."""

from .hooks import (
    AtomicCheckpointHook,
    EpochSeedHook,
    FiniteLossHook,
    UnseenClassesHook,
    ValidateOnResumeHook,
)
from .initialization import MultiBandPretrained
from .safe_loading import allow_checkpoint_globals, register_safe_loaders
from .sampling import HalfSampler, seed_worker
from .schedulers import ClampedCosineLR

__all__ = [
    'AtomicCheckpointHook',
    'ClampedCosineLR',
    'EpochSeedHook',
    'FiniteLossHook',
    'HalfSampler',
    'MultiBandPretrained',
    'UnseenClassesHook',
    'ValidateOnResumeHook',
    'allow_checkpoint_globals',
    'register_safe_loaders',
    'seed_worker',
]
