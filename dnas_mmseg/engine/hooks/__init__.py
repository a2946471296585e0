"""Hooks."""

from .architecture_search_hook import ArchitectureSearchHook
from .atomic_checkpoint_hook import AtomicCheckpointHook
from .drop_path_hook import ScheduledDropPathHook
from .finite_loss_hook import FiniteLossHook
from .resuming import EpochSeedHook, ValidateOnResumeHook
from .unseen_classes_hook import UnseenClassesHook
from .visualization_hook import MultiBandVisualizationHook

__all__ = [
    'ArchitectureSearchHook',
    'AtomicCheckpointHook',
    'EpochSeedHook',
    'FiniteLossHook',
    'MultiBandVisualizationHook',
    'ScheduledDropPathHook',
    'UnseenClassesHook',
    'ValidateOnResumeHook',
]
