"""Names and colours of classes."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import UserError

Colour = tuple[int, int, int]

NO_CLASS = 255
"""Value of pixels without a class, in labels and maps of train ids."""


@dataclass(frozen=True)
class ClassScheme:
    """Names and RGB colours of classes, in train-id order.

    Attributes:
        names: Names of the classes.
        palette: RGB colours, 0 to 255.

    Raises:
        UserError: The numbers of names and colours differ.

    Example:
        >>> scheme = ClassScheme(('forest', 'water'), ((0, 128, 0), (0, 0, 255)))
        >>> list(scheme)[1]
        ('water', (0, 0, 255))
    """

    names: tuple[str, ...]
    palette: tuple[Colour, ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.palette):
            raise UserError(
                f'{len(self.names)} classes, but {len(self.palette)} colours; expected one each'
            )

    @classmethod
    def from_metainfo(cls, metainfo: Mapping[str, Any]) -> ClassScheme:
        """Return the scheme of a data set's metainfo, with a default palette if it has none."""
        names = tuple(metainfo['classes'])
        palette = metainfo.get('palette') or default_palette(len(names))
        return cls(names, tuple((int(r), int(g), int(b)) for r, g, b in palette))

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[tuple[str, Colour]]:
        return zip(self.names, self.palette, strict=True)


def default_palette(num_classes: int) -> tuple[Colour, ...]:
    """Return a default palette of RGB colours with distinct hues and brightnesses.

    Example:
        >>> default_palette(2)
        ((255, 64, 64), (48, 90, 191))
    """
    golden = 0.61803398875  # golden-ratio steps on the colour circle separate hues
    colours = []
    for i in range(num_classes):
        rgb = colorsys.hsv_to_rgb((i * golden) % 1, 0.75, (1.0, 0.75, 0.55)[i % 3])
        red, green, blue = (round(255 * part) for part in rgb)
        colours.append((red, green, blue))
    return tuple(colours)


def find_moved_classes(first: Sequence[str], second: Sequence[str]) -> list[str]:
    """Return the classes of two lists that have different train ids in them.

    Names that occur in one list only may have been renamed.

    Example:
        >>> find_moved_classes(('field', 'wood', 'lake'), ('field', 'lake', 'forest'))
        ['lake']
    """
    ids = {name: i for i, name in enumerate(first)}
    return [name for i, name in enumerate(second) if ids.get(name, i) != i]
