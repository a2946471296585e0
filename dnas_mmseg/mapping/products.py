"""Products of a scene beside its class map."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dnas_mmseg.errors import UserError

_FOLDERS = {'confidence': 'tif', 'probabilities': 'tif', 'quick_look': 'png', 'polygons': 'gpkg'}
"""Products in folders of their own, and their suffixes."""

_BESIDE = {'qgis_style': '.qml', 'stac': '.stac.json'}
"""Products beside the map, under its name."""


@dataclass(frozen=True)
class MapProducts:
    """Products to make beside a class map.

    Attributes:
        confidence: Whether to write the probability of the chosen class, 0 to 100 (uint8), as
            ``confidence/<name>.tif``.
        probabilities: Whether to write the probability of every class, a band each, as
            ``probabilities/<name>.tif``.
        quick_look: Whether to write scene and map side by side, as ``quick_look/<name>.png``.
        polygons: Whether to write the classes as polygons, as ``polygons/<name>.gpkg``.
        min_pixels: Number of pixels that a polygon must have; a smaller area becomes a part of its
            largest neighbour.
        simplify: Distance in pixels by which outlines of polygons may move to get fewer corners.
        qgis_style: Whether to write a style for QGIS, as ``<name>.qml``.
        stac: Whether to write a STAC item, as ``<name>.stac.json``.

    Raises:
        UserError: A value is not possible.
    """

    confidence: bool = False
    probabilities: bool = False
    quick_look: bool = False
    polygons: bool = False
    min_pixels: int = 1
    simplify: float = 0.0
    qgis_style: bool = False
    stac: bool = False

    def __post_init__(self) -> None:
        if self.min_pixels < 1 or self.simplify < 0:
            raise UserError(
                f'min_pixels = {self.min_pixels}, simplify = {self.simplify}: at least 1 and 0 are '
                'needed'
            )
        if (self.min_pixels > 1 or self.simplify) and not self.polygons:
            raise UserError('min_pixels and simplify are about polygons: ask for them (--polygons)')

    def paths(self, target: Path) -> dict[str, Path]:
        """Return the paths of the chosen products by kind.

        Args:
            target: Path of the class map.
        """
        folders = {
            kind: target.parent / kind / f'{target.stem}.{suffix}'
            for kind, suffix in _FOLDERS.items()
        }
        beside = {kind: target.with_suffix(suffix) for kind, suffix in _BESIDE.items()}
        return {k: p for k, p in {**folders, **beside}.items() if getattr(self, k)}
