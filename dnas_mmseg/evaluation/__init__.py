"""Scores of predicted class maps."""

from .confusion_metric import ConfusionMetric
from .map_scores import MapCount, count_map
from .noise import Noise, least_difference, measure_noise
from .scores import confusion_matrix, scores

__all__ = [
    'ConfusionMetric',
    'MapCount',
    'Noise',
    'confusion_matrix',
    'count_map',
    'least_difference',
    'measure_noise',
    'scores',
]
