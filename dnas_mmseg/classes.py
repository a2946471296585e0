"""Names and colours of classes."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import UserError

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class ClassScheme:
    """Names and RGB colours of classes, in train-id order.

    Attributes:
        names: Names of the classes.
        palette: RGB colours, 0 to 255.

    Raises:
        UserError: There are more names than colours, or more colours than names.

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
                f'{len(self.names)} classes, but {len(self.palette)} colours: one each is needed'
            )

    @classmethod
    def from_metainfo(cls, metainfo: Mapping[str, Any]) -> ClassScheme:
        """Return the scheme of a data set's metainfo; classes without a palette get colours."""
        names = tuple(metainfo['classes'])
        palette = metainfo.get('palette') or default_palette(len(names))
        return cls(names, tuple((int(r), int(g), int(b)) for r, g, b in palette))

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[tuple[str, Colour]]:
        return zip(self.names, self.palette, strict=True)


def default_palette(num_classes: int) -> tuple[Colour, ...]:
    """Return an RGB colour per class for data without a palette: distinct hues and brightnesses."""
    golden = 0.61803398875  # golden-ratio steps on the colour circle keep hues apart
    colours = []
    for i in range(num_classes):
        rgb = colorsys.hsv_to_rgb((i * golden) % 1, 0.75, (1.0, 0.75, 0.55)[i % 3])
        red, green, blue = (round(255 * part) for part in rgb)
        colours.append((red, green, blue))
    return tuple(colours)
