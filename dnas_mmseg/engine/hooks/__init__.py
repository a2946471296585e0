"""Hooks."""

from .atomic_checkpoint_hook import AtomicCheckpointHook
from .compile_hook import CompileHook
from .early_stopping_hook import ResumableEarlyStoppingHook
from .finite_loss_hook import FiniteLossHook
from .resuming import EpochSeedHook, ValidateOnResumeHook
from .unseen_classes_hook import UnseenClassesHook
from .visualization_hook import MultiBandVisualizationHook

__all__ = [
    'AtomicCheckpointHook',
    'CompileHook',
    'EpochSeedHook',
    'FiniteLossHook',
    'MultiBandVisualizationHook',
    'ResumableEarlyStoppingHook',
    'UnseenClassesHook',
    'ValidateOnResumeHook',
]
