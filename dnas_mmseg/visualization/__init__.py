"""Pictures: false colour of many bands, class maps, comparisons."""

from .comparison import Row, save_comparison, save_pictures
from .false_colour import class_colours, display_bands, false_colour
from .samples import save_samples

__all__ = [
    'Row',
    'class_colours',
    'display_bands',
    'false_colour',
    'save_comparison',
    'save_pictures',
    'save_samples',
]
