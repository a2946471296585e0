"""Hooks."""

from .atomic_checkpoint_hook import AtomicCheckpointHook
from .finite_loss_hook import FiniteLossHook
from .resuming import EpochSeedHook, ValidateOnResumeHook
from .unseen_classes_hook import UnseenClassesHook
from .visualization_hook import MultiBandVisualizationHook

__all__ = [
    'AtomicCheckpointHook',
    'EpochSeedHook',
    'FiniteLossHook',
    'MultiBandVisualizationHook',
    'UnseenClassesHook',
    'ValidateOnResumeHook',
]
