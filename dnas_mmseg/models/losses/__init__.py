"""Losses."""

from .labelled_cross_entropy import LabelledCrossEntropyLoss
from .labelled_dice import LabelledDiceLoss

__all__ = ['LabelledCrossEntropyLoss', 'LabelledDiceLoss']
