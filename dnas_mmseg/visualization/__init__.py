"""Pictures: false colour of many bands, class maps, comparisons, searches."""

from .comparison import Row, save_comparison, save_pictures
from .confusion import save_confusion
from .false_colour import class_colours, display_bands, false_colour
from .samples import save_samples
from .search_report import save_search_report

__all__ = [
    'Row',
    'class_colours',
    'display_bands',
    'false_colour',
    'save_comparison',
    'save_confusion',
    'save_pictures',
    'save_samples',
    'save_search_report',
]
