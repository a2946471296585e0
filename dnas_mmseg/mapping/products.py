"""Products of a scene beside its class map."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

_SUFFIXES = {'confidence': 'tif', 'probabilities': 'tif', 'quick_look': 'png', 'polygons': 'gpkg'}


@dataclass(frozen=True)
class MapProducts:
    """Products to make beside a class map, each in a folder of its own beside the map.

    Attributes:
        confidence: Whether to write the probability of the chosen class, 0 to 100 (uint8), as
            ``confidence/<name>.tif``.
        probabilities: Whether to write the probability of every class, a band each, as
            ``probabilities/<name>.tif``.
        quick_look: Whether to write scene and map side by side, as ``quick_look/<name>.png``.
        polygons: Whether to write the classes as polygons, as ``polygons/<name>.gpkg``.
    """

    confidence: bool = False
    probabilities: bool = False
    quick_look: bool = False
    polygons: bool = False

    def paths(self, target: Path) -> dict[str, Path]:
        """Return the paths of the chosen products by kind.

        Args:
            target: Path of the class map.
        """
        return {
            kind: target.parent / kind / f'{target.stem}.{_SUFFIXES[kind]}'
            for kind, chosen in asdict(self).items()
            if chosen
        }
