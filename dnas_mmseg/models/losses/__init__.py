"""Losses."""

from .labelled_cross_entropy import LabelledCrossEntropyLoss

__all__ = ['LabelledCrossEntropyLoss']
