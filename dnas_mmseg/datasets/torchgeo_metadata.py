"""Bands, classes and palettes of torchgeo's data sets, and its import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from dnas_mmseg.bands import RGB, band_name, band_names, find_sensor
from dnas_mmseg.errors import UserError

from .description import DatasetError

_BANDS: dict[str, tuple[str, ...]] = {
    'DFC2022': (*RGB, 'elevation'),
    'DeepGlobeLandCover': RGB,
    'GID15': RGB,
    'InriaAerialImageLabeling': RGB,
    'LandCoverAI': RGB,
    'LoveDA': RGB,
    'Potsdam2D': (*RGB, 'nir'),
    # PlanetScope: its B01 to B04 are not those of Sentinel-2.
    'RwandaFieldBoundary': ('blue', 'green', 'red', 'nir'),
    'Vaihingen2D': ('nir', 'red', 'green'),
}
"""Bands of data sets whose classes in torchgeo do not name them, or by ambiguous numbers."""

_CLASSES: dict[str, tuple[tuple[str, ...], str]] = {
    # torchgeo lists no-data last, but the masks have 0 for it.
    'LoveDA': (
        ('background', 'building', 'road', 'water', 'barren', 'forest', 'agriculture'),
        'index',
    ),
}
"""Classes and label convention where the class attribute of torchgeo differs from the masks."""


def import_torchgeo(module: str, user: str) -> Any:
    """Import a module of torchgeo.

    Args:
        module: Name of the module.
        user: What requires it, for the error message.

    Raises:
        DatasetError: torchgeo is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise DatasetError(
            f'{user} requires torchgeo, which cannot be imported ({one_line(error)}): '
            "pip install 'dnas_mmseg[torchgeo]'"
        ) from None


def known_bands(name: str, source: Any, channels: int) -> tuple[str, ...]:
    """Return the normalized names of the bands of an image.

    Raises:
        DatasetError: The names are unknown.
    """
    candidates: list[Any] = [_BANDS.get(name)]
    candidates += [getattr(source, key, None) for key in ('bands', 'all_bands', 'band_names')]
    rgb = getattr(source, 'rgb_bands', None)
    candidates.append(rgb)
    for names in candidates:
        is_list = isinstance(names, (list, tuple)) and all(isinstance(n, str) for n in names)
        if names is not None and is_list and len(names) == channels:
            try:
                return normalize_bands(names, rgb if isinstance(rgb, (list, tuple)) else ())
            except UserError:  # numbers of an unknown sensor
                break
    raise DatasetError(
        f'{name}: the names of the {channels} bands are unknown; set bands=(...), in the order of '
        'the image'
    )


def normalize_bands(names: Sequence[str], rgb: Sequence[str]) -> tuple[str, ...]:
    """Normalize band names; torchgeo's ``rgb_bands`` take precedence over band numbers."""
    sensor = find_sensor(names)
    colours = dict(zip(rgb, RGB, strict=False)) if len(rgb) == 3 else {}
    return band_names(colours.get(name) or band_name(name, sensor) for name in names)


def known_classes(source: Any) -> tuple[str, ...]:
    """Return the class names of a data set of torchgeo; empty if it has none."""
    classes = getattr(source, 'classes', None)
    if not isinstance(classes, (list, tuple)) or not all(isinstance(c, str) for c in classes):
        return ()
    return tuple(classes)


def known_palette(source: Any, count: int) -> tuple[tuple[int, ...], ...]:
    """Return the RGB colours of the classes; empty if the data set does not have all of them."""
    for key in ('colormap', 'cmap'):
        colours = getattr(source, key, None)
        colours = getattr(colours, 'colors', colours)  # a ListedColormap of matplotlib
        if isinstance(colours, Mapping):
            colours = [colours[i] for i in range(count) if i in colours]
        if isinstance(colours, str) or not isinstance(colours, (Sequence, np.ndarray)):
            continue
        if len(colours) == count:
            return tuple(_to_rgb(colour) for colour in colours)
    return ()


def _to_rgb(colour: Any) -> tuple[int, ...]:
    """Return 8-bit RGB of a name of matplotlib, floats from 0 to 1, or integers."""
    if not isinstance(colour, str) and not any(isinstance(v, (float, np.floating)) for v in colour):
        return tuple(int(value) for value in colour[:3])
    from matplotlib.colors import to_rgb

    return tuple(round(255 * value) for value in to_rgb(colour))


def known_encoding(name: str, source: Any) -> tuple[tuple[str, ...], str]:
    """Return the class names and the label convention of a data set's masks.

    Args:
        name: Name of the torchgeo class.
        source: The data set.

    Returns:
        Class names, empty if unknown; and ``'train_id'`` or ``'index'``.
    """
    return _CLASSES.get(name, (known_classes(source), 'train_id'))


def one_line(error: Exception) -> str:
    """Return the message of an error in one line, or its type if it has none."""
    return ' '.join(str(error).split()) or type(error).__name__
