"""Scores of predicted class maps."""

from .confusion_metric import ConfusionMetric
from .scores import confusion_matrix, scores

__all__ = ['ConfusionMetric', 'confusion_matrix', 'scores']
