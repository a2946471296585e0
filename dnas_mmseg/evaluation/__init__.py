"""Scores of predicted class maps."""

from .confusion_metric import ConfusionMetric
from .noise import Noise, least_difference, measure_noise
from .scores import confusion_matrix, scores

__all__ = [
    'ConfusionMetric',
    'Noise',
    'confusion_matrix',
    'least_difference',
    'measure_noise',
    'scores',
]
