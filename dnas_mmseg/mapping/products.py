"""Products of a scene: its class map, and what is written next to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dnas_mmseg.bands import BandChoice
from dnas_mmseg.classes import ClassScheme
from dnas_mmseg.errors import UserError
from dnas_mmseg.raster import RasterError, RasterInfo, write_polygons, write_strips
from dnas_mmseg.visualization import save_quick_look

from .blending import Part
from .qgis_style import write_qgis_style
from .stac import write_map_item

NODATA = 255
"""Value of pixels without a class or a probability."""


@dataclass(frozen=True)
class MappedScene:
    """A scene with its finished class map, of which further products are made.

    Attributes:
        info: Metadata of the scene.
        bands: Bands of the scene that the model takes.
        nodata: Nodata value in addition to those that the scene declares.
        skip_bad_blocks: Whether parts that cannot be read are left out.
        class_map: Path of the map.
        classes: Names and colours of the classes.
    """

    info: RasterInfo
    bands: BandChoice
    nodata: float | None
    skip_bad_blocks: bool
    class_map: Path
    classes: ClassScheme


class Product(ABC):
    """A file that is made of a scene."""

    kind: ClassVar[str]
    suffix: ClassVar[str]

    def path(self, class_map: Path) -> Path:
        """Return the path of the product, in a folder of its own next to the map's."""
        return class_map.parent / self.kind / f'{class_map.stem}{self.suffix}'


class RasterProduct(Product):
    """A raster on the scene's grid that is written part by part while the scene is mapped."""

    suffix: ClassVar[str] = '.tif'

    @abstractmethod
    def open(
        self, class_map: Path, classes: ClassScheme, grid: dict[str, Any]
    ) -> AbstractContextManager:
        """Open the file; see :func:`dnas_mmseg.raster.write_strips`, which takes the grid."""

    @abstractmethod
    def samples(self, part: Part) -> np.ndarray:
        """Return the samples of a part, uint8 (bands, rows, columns)."""


class ClassMap(RasterProduct):
    """The class of every pixel, as train id."""

    kind = 'map'

    def path(self, class_map: Path) -> Path:
        return class_map

    def open(
        self, class_map: Path, classes: ClassScheme, grid: dict[str, Any]
    ) -> AbstractContextManager:
        return write_strips(class_map, **grid, nodata=NODATA, classes=classes, resampling='MODE')

    def samples(self, part: Part) -> np.ndarray:
        return np.where(part.missing, np.uint8(NODATA), part.classes)[None]


class Probabilities(RasterProduct):
    """The probability of every class in percent, a band each."""

    kind = 'probabilities'

    def open(
        self, class_map: Path, classes: ClassScheme, grid: dict[str, Any]
    ) -> AbstractContextManager:
        names = self.band_names(classes)
        target = self.path(class_map)
        return write_strips(target, **grid, names=names, nodata=NODATA, resampling='AVERAGE')

    def band_names(self, classes: ClassScheme) -> tuple[str, ...]:
        """Return the descriptions of the bands."""
        return tuple(f'{name}, percent' for name in classes.names)

    def samples(self, part: Part) -> np.ndarray:
        return _percent(part.probabilities, part.missing)


class Confidence(Probabilities):
    """The probability of the chosen class in percent."""

    kind = 'confidence'

    def band_names(self, classes: ClassScheme) -> tuple[str, ...]:
        return ('confidence, percent',)

    def samples(self, part: Part) -> np.ndarray:
        index = part.classes[None].astype(np.intp)
        return _percent(np.take_along_axis(part.probabilities, index, 0), part.missing)


def _percent(probabilities: np.ndarray, missing: np.ndarray) -> np.ndarray:
    percent = np.rint(100 * probabilities).astype(np.uint8)
    percent[:, missing] = NODATA
    return percent


class DerivedProduct(Product):
    """A file that is made of a scene and its finished map."""

    @abstractmethod
    def write(self, scene: MappedScene) -> list[str]:
        """Write the file; return notes, a line each."""


class QuickLook(DerivedProduct):
    """A picture of the scene next to its map."""

    kind, suffix = 'quick_look', '.png'

    def write(self, scene: MappedScene) -> list[str]:
        try:
            save_quick_look(
                self.path(scene.class_map),
                scene.info.path,
                scene.class_map,
                bands=scene.bands.names,
                index=scene.bands.index,
                nodata=scene.nodata,
                classes=scene.classes,
            )
        except RasterError as error:
            if not scene.skip_bad_blocks:
                raise
            return [f'no quick look: {error}']
        return []


@dataclass(frozen=True)
class Polygons(DerivedProduct):
    """The classes as polygons.

    Attributes:
        min_pixels, simplify: Arguments of :func:`dnas_mmseg.raster.write_polygons`.
    """

    kind: ClassVar[str] = 'polygons'
    suffix: ClassVar[str] = '.gpkg'

    min_pixels: int
    simplify: float

    def write(self, scene: MappedScene) -> list[str]:
        write_polygons(
            scene.class_map,
            self.path(scene.class_map),
            scene.classes.names,
            min_pixels=self.min_pixels,
            simplify=self.simplify,
        )
        return []


class QgisStyle(DerivedProduct):
    """A style that QGIS loads with the map."""

    kind, suffix = 'qgis_style', '.qml'

    def path(self, class_map: Path) -> Path:
        return class_map.with_suffix(self.suffix)

    def write(self, scene: MappedScene) -> list[str]:
        write_qgis_style(self.path(scene.class_map), scene.classes)
        return []


class StacItem(DerivedProduct):
    """An item for catalogues of geodata."""

    kind, suffix = 'stac', '.stac.json'

    def path(self, class_map: Path) -> Path:
        return class_map.with_suffix(self.suffix)

    def write(self, scene: MappedScene) -> list[str]:
        return write_map_item(
            self.path(scene.class_map), scene.class_map, scene.info, scene.classes
        )


@dataclass(frozen=True)
class MapProducts:
    """Products to make next to a class map.

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

    Example:
        >>> [product.kind for product in MapProducts(confidence=True, stac=True)]
        ['map', 'confidence', 'stac']
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

    def __iter__(self) -> Iterator[Product]:
        """Yield the class map and the chosen products."""
        products = (
            ClassMap(), Confidence(), Probabilities(), QuickLook(),
            Polygons(self.min_pixels, self.simplify), QgisStyle(), StacItem(),
        )  # fmt: skip
        return (p for p in products if getattr(self, p.kind, True))

    @property
    def rasters(self) -> list[RasterProduct]:
        """Rasters among the products, the class map first."""
        return [product for product in self if isinstance(product, RasterProduct)]

    @property
    def derived(self) -> list[DerivedProduct]:
        """Products that are made of the finished map."""
        return [product for product in self if isinstance(product, DerivedProduct)]
