"""Visualisation of multi-band images, class maps, scores and training curves."""

from .comparison import ExampleRow, save_comparison, save_pictures
from .confusion import save_confusion
from .false_colour import apply_palette, display_bands, false_colour
from .learning_curves import find_training_folders, read_curve, save_learning_curves
from .quick_look import save_quick_look
from .samples import SamplePictures, draw_samples
from .visualizer import MultiBandLocalVisualizer

__all__ = [
    'ExampleRow',
    'MultiBandLocalVisualizer',
    'SamplePictures',
    'apply_palette',
    'display_bands',
    'draw_samples',
    'false_colour',
    'find_training_folders',
    'read_curve',
    'save_comparison',
    'save_confusion',
    'save_learning_curves',
    'save_pictures',
    'save_quick_look',
]
