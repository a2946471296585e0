"""Segmentation scores, and the noise of scores over seeds."""

from .confusion_metric import ConfusionMetric
from .noise import Noise, least_significant_difference, measure_noise
from .scores import compute_scores, confusion_matrix

__all__ = [
    'ConfusionMetric',
    'Noise',
    'compute_scores',
    'confusion_matrix',
    'least_significant_difference',
    'measure_noise',
]
