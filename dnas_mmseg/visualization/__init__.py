"""Pictures: false colour of many bands, class maps, comparisons, searches."""

from .comparison import ExampleRow, save_comparison, save_pictures
from .confusion import save_confusion
from .false_colour import class_colours, display_bands, false_colour
from .learning_curves import read_curve, save_learning_curves, training_folders
from .quick_look import save_quick_look
from .samples import save_samples
from .visualizer import MultiBandLocalVisualizer

__all__ = [
    'ExampleRow',
    'MultiBandLocalVisualizer',
    'class_colours',
    'display_bands',
    'false_colour',
    'read_curve',
    'save_comparison',
    'save_confusion',
    'save_learning_curves',
    'save_pictures',
    'save_quick_look',
    'save_samples',
    'training_folders',
]
