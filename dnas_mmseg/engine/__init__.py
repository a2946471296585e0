"""What a run needs besides a model and data: hooks, schedules, initialisation, safe loading."""

from .hooks import AtomicCheckpointHook
from .initialization import MultiBandPretrained
from .safe_globals import allow_checkpoint_globals
from .schedulers import ClampedCosineLR

__all__ = [
    'AtomicCheckpointHook',
    'ClampedCosineLR',
    'MultiBandPretrained',
    'allow_checkpoint_globals',
]
