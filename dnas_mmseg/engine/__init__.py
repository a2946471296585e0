"""What a run needs besides a model and data: hooks, schedules, initialisation, safe loading."""

from .hooks import (
    ArchitectureSearchHook,
    AtomicCheckpointHook,
    EpochSeedHook,
    FiniteLossHook,
    ScheduledDropPathHook,
    UnseenClassesHook,
    ValidateOnResumeHook,
)
from .initialization import MultiBandPretrained
from .safe_globals import allow_checkpoint_globals
from .sampling import HalfSampler, seed_worker
from .schedulers import ClampedCosineLR

__all__ = [
    'ArchitectureSearchHook',
    'AtomicCheckpointHook',
    'ClampedCosineLR',
    'EpochSeedHook',
    'FiniteLossHook',
    'HalfSampler',
    'MultiBandPretrained',
    'ScheduledDropPathHook',
    'UnseenClassesHook',
    'ValidateOnResumeHook',
    'allow_checkpoint_globals',
    'seed_worker',
]
