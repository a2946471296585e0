"""Scores of predicted class maps."""

from .confusion_metric import ConfusionMetric
from .map_scores import MapCount, count_map
from .scores import confusion_matrix, scores

__all__ = ['ConfusionMetric', 'MapCount', 'confusion_matrix', 'count_map', 'scores']
