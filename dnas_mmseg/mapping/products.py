"""Map products of a scene: the class map, further rasters and derived files."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dnas_mmseg.bands import BandChoice
from dnas_mmseg.classes import NO_CLASS, ClassScheme
from dnas_mmseg.errors import UserError
from dnas_mmseg.raster import (
    RasterError,
    RasterInfo,
    are_polygons_edited,
    is_virtual,
    raster_stem,
    read_polygon_settings,
    write_polygons,
)
from dnas_mmseg.visualization import save_quick_look

from .blending import Part
from .qgis_style import write_qgis_style
from .stac import ITEM_SUFFIX, find_collection_id, write_map_item


@dataclass(frozen=True)
class MappedScene:
    """Scene with its finished class map, the input of derived products.

    Attributes:
        info: Metadata of the scene.
        bands: Input bands of the model.
        nodata: Nodata value in addition to the declared ones.
        skip_bad_blocks: Whether to skip unreadable blocks.
        class_map: Path of the class map.
        classes: Names and colours of the classes.
    """

    info: RasterInfo
    bands: BandChoice
    nodata: float | None
    skip_bad_blocks: bool
    class_map: Path
    classes: ClassScheme


class Product(ABC):
    """File that is computed from a scene."""

    kind: ClassVar[str]
    suffix: ClassVar[str]

    def path(self, class_map: Path) -> Path:
        """Return the path of the product, ``<folder of the map>/<kind>/<name><suffix>``."""
        return class_map.parent / self.kind / f'{class_map.stem}{self.suffix}'


class RasterProduct(Product):
    """Raster on the grid of the scene, written during prediction."""

    suffix: ClassVar[str] = '.tif'

    @abstractmethod
    def layout(self, classes: ClassScheme) -> dict[str, Any]:
        """Return arguments of :func:`dnas_mmseg.raster.write_strips`: bands, nodata, overviews."""

    @abstractmethod
    def samples(self, part: Part) -> np.ndarray:
        """Return the samples of a part, uint8 (bands, rows, columns)."""


class ClassMap(RasterProduct):
    """Class of every pixel as train id."""

    kind = 'map'

    def path(self, class_map: Path) -> Path:
        return class_map

    def layout(self, classes: ClassScheme) -> dict[str, Any]:
        return dict(nodata=NO_CLASS, classes=classes, resampling='MODE')

    def samples(self, part: Part) -> np.ndarray:
        return np.where(part.missing, np.uint8(NO_CLASS), part.classes)[None]


class Probabilities(RasterProduct):
    """Probability of every class in percent, one band per class."""

    kind = 'probabilities'

    def layout(self, classes: ClassScheme) -> dict[str, Any]:
        return dict(names=self.band_names(classes), nodata=NO_CLASS, resampling='AVERAGE')

    def band_names(self, classes: ClassScheme) -> tuple[str, ...]:
        """Return the descriptions of the bands."""
        return tuple(f'{name}, percent' for name in classes.names)

    def samples(self, part: Part) -> np.ndarray:
        return _percent(part.probabilities, part.missing)


class Confidence(Probabilities):
    """Probability of the predicted class in percent."""

    kind = 'confidence'

    def band_names(self, classes: ClassScheme) -> tuple[str, ...]:
        return ('confidence, percent',)

    def samples(self, part: Part) -> np.ndarray:
        index = part.classes[None].astype(np.intp)
        return _percent(np.take_along_axis(part.probabilities, index, 0), part.missing)


def _percent(probabilities: np.ndarray, missing: np.ndarray) -> np.ndarray:
    percent = np.rint(100 * probabilities).astype(np.uint8)
    percent[:, missing] = NO_CLASS
    return percent


class DerivedProduct(Product):
    """File that is computed from a scene and its finished map."""

    def is_current(self, class_map: Path) -> bool:
        """Return whether the file was written after its map, with these settings."""
        path = self.path(class_map)
        return path.is_file() and path.stat().st_mtime_ns >= class_map.stat().st_mtime_ns

    def check_overwrite(self, class_map: Path) -> None:
        """Check that an existing file may be overwritten.

        Raises:
            UserError: It contains the work of a user.
        """

    @abstractmethod
    def write(self, scene: MappedScene) -> list[str]:
        """Write the file; return notes, one line each."""


class QuickLook(DerivedProduct):
    """Picture of the scene next to its map."""

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
    """Classes as polygons.

    Attributes:
        min_pixels, simplify: Arguments of :func:`dnas_mmseg.raster.write_polygons`.
    """

    kind: ClassVar[str] = 'polygons'
    suffix: ClassVar[str] = '.gpkg'

    min_pixels: int
    simplify: float

    def is_current(self, class_map: Path) -> bool:
        if not super().is_current(class_map):
            return False
        return read_polygon_settings(self.path(class_map)) in (None, astuple(self))

    def check_overwrite(self, class_map: Path) -> None:
        path = self.path(class_map)
        if path.exists() and are_polygons_edited(path):
            raise UserError(
                f'{path} was edited since it was written: move it, or choose another --out-dir'
            )

    def write(self, scene: MappedScene) -> list[str]:
        path, place = self.path(scene.class_map), scene.info.georeference
        write_polygons(
            scene.class_map,
            path,
            scene.classes.names,
            min_pixels=self.min_pixels,
            simplify=self.simplify,
        )
        if place.transform is None:
            return [f'{path}: the scene has no geotransform, so its coordinates are pixels']
        if not place.crs:
            return [f'{path}: the scene has no CRS, so its polygons have neither CRS nor area']
        return []


class QgisStyle(DerivedProduct):
    """Style that QGIS loads with the map."""

    kind, suffix = 'qgis_style', '.qml'

    def path(self, class_map: Path) -> Path:
        return class_map.with_suffix(self.suffix)

    def write(self, scene: MappedScene) -> list[str]:
        write_qgis_style(self.path(scene.class_map), scene.classes)
        return []


class StacItem(DerivedProduct):
    """STAC item of the collection in its folder."""

    kind, suffix = 'stac', ITEM_SUFFIX

    def path(self, class_map: Path) -> Path:
        return class_map.with_suffix(self.suffix)

    def write(self, scene: MappedScene) -> list[str]:
        path = self.path(scene.class_map)
        name = find_collection_id(path.parent)
        return write_map_item(path, scene.class_map, scene.info, scene.classes, name)


@dataclass(frozen=True)
class MapProducts:
    """Select the products to write in addition to a class map.

    Attributes:
        confidence: Whether to write the probability of the predicted class, 0 to 100 (uint8), as
            ``confidence/<name>.tif``.
        probabilities: Whether to write the probability of every class, one band per class, as
            ``probabilities/<name>.tif``.
        quick_look: Whether to write scene and map side by side, as ``quick_look/<name>.png``.
        polygons: Whether to write the classes as polygons, as ``polygons/<name>.gpkg``.
        min_pixels: Minimum size of polygons in pixels; smaller areas are merged into their largest
            neighbour.
        simplify: Tolerance of polygon simplification, in pixels; 0 keeps all vertices.
        qgis_style: Whether to write a style for QGIS, as ``<name>.qml``.
        stac: Whether to write a STAC item, as ``<name>.stac.json``, and the collection of all items
            in the folder, as ``collection.json``.

    Raises:
        UserError: ``min_pixels`` or ``simplify`` is out of range, or set without ``polygons``.

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
                f'min_pixels = {self.min_pixels}, simplify = {self.simplify}: at least 1 and 0 '
                'expected'
            )
        if (self.min_pixels > 1 or self.simplify) and not self.polygons:
            raise UserError('min_pixels and simplify require polygons (--polygons)')

    def __iter__(self) -> Iterator[Product]:
        """Yield the class map and the selected products."""
        products = (
            ClassMap(), Confidence(), Probabilities(), QuickLook(),
            Polygons(self.min_pixels, self.simplify), QgisStyle(), StacItem(),
        )  # fmt: skip
        return (p for p in products if getattr(self, p.kind, True))

    @property
    def rasters(self) -> list[RasterProduct]:
        """Raster products, starting with the class map."""
        return [product for product in self if isinstance(product, RasterProduct)]

    @property
    def derived(self) -> list[DerivedProduct]:
        """Products that are computed from the finished map."""
        return [product for product in self if isinstance(product, DerivedProduct)]


def map_grid(scene: RasterInfo, weights: str) -> dict[str, Any]:
    """Return the arguments of :func:`dnas_mmseg.raster.write_strips` for a map of a scene.

    Args:
        scene: Metadata of the scene.
        weights: Checksum of the network; empty if unknown.
    """
    return dict(
        height=scene.height,
        width=scene.width,
        georeference=scene.georeference,
        map_of=scene_name(scene.path),
        map_source=scene_file(scene.path),
        map_weights=weights,
    )


def scene_name(path: str | os.PathLike) -> str:
    """Return the scene name that maps store: the file name, or the stem of a virtual path."""
    return raster_stem(path) if is_virtual(path) else Path(path).name


def scene_file(path: str | os.PathLike) -> str:
    """Return the absolute path of a scene that maps store; empty for a virtual path."""
    return '' if is_virtual(path) else os.path.abspath(path)
