"""Planned maps of scenes: outputs to write, and how to write them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dnas_mmseg.bands import BandChoice
from dnas_mmseg.classes import ClassScheme
from dnas_mmseg.errors import UserError
from dnas_mmseg.raster import Raster, RasterError, RasterInfo, source_files

from .products import DerivedProduct, MappedScene, MapProducts, scene_file, scene_name
from .scene import SceneSource, Tiling, predict_scene, scene_windows

if TYPE_CHECKING:
    from mmseg.models import BaseSegmentor

    from .windows import WindowModel


_derived_lock = threading.Lock()
"""Held while derived products are written: matplotlib is not thread-safe."""


@dataclass(frozen=True)
class MapSettings:
    """Settings of all scenes of a call.

    Attributes:
        tiling: Windows, flips and precision.
        products: Products to write in addition to the maps.
        classes: Names and colours of the model's classes.
        weights: Checksum of its weights; empty if unknown.
        is_offline: Whether network access of rasters is disabled, also in other processes.
    """

    tiling: Tiling
    products: MapProducts
    classes: ClassScheme
    weights: str = ''
    is_offline: bool = False


@dataclass(frozen=True)
class Outputs:
    """Outputs of a scene that exist, and those to write.

    Attributes:
        is_mapped: Whether the map and all raster products exist.
        missing: Derived products to write.
    """

    is_mapped: bool
    missing: tuple[DerivedProduct, ...]


@dataclass(frozen=True)
class SceneJob:
    """Outputs to write for a scene.

    Attributes:
        info: Metadata of the scene.
        source: The scene and how to read it.
        bands: Input bands.
        target: Path of its map.
        outputs: Outputs that exist, and those to write.
        notes: Notes on assumptions, one line each.
    """

    info: RasterInfo
    source: SceneSource
    bands: BandChoice
    target: Path
    outputs: Outputs
    notes: tuple[str, ...] = ()


def find_outputs(info: RasterInfo, target: Path, settings: MapSettings, resume: bool) -> Outputs:
    """Check the output paths of a scene, and return which outputs exist.

    Args:
        info: Metadata of the scene.
        target: Path of its map.
        settings: Settings of the call.
        resume: Whether outputs that exist are left as they are, unless another network predicted
            them, they are older than their map, or have other settings.

    Raises:
        UserError: An existing file would be overwritten that is not a map of this scene, or that
            the user has edited.
    """
    products = settings.products
    rasters = [product.path(target) for product in products.rasters]
    others = [product.path(target) for product in products.derived]
    others.append(target.with_name(f'{target.name}.aux.xml'))
    existing = [path for path in (*rasters, *others) if path.exists()]
    files = source_files(info.path) if existing else []
    weights: dict[Path, str] = {}
    for path in existing:
        if path.resolve() in files:
            own = path.resolve() == Path(info.path).resolve()
            what = 'the scene itself' if own else f'its source {path}'
            raise UserError(
                f'{info.path}: the map would overwrite {what}; choose another --out-dir'
            )
        found = _read_map(path if path in rasters else target, info)
        if found is None:
            raise UserError(
                f'{path} exists and does not belong to a map of {info.path}: choose another '
                '--out-dir, or move the file'
            )
        weights[path] = found.map_weights
    is_mapped = resume and all(weights.get(path) == settings.weights for path in rasters)
    missing = tuple(
        product for product in products.derived if not (is_mapped and product.is_current(target))
    )
    for product in missing:
        product.check_overwrite(target)
    return Outputs(is_mapped, missing)


def _read_map(path: Path, info: RasterInfo) -> RasterInfo | None:
    """Return the metadata of a map of a scene; None for any other file.

    Scenes of one name and grid, as of several dates, differ in their files. A scene whose file does
    not exist any more may have been moved.
    """
    try:
        with Raster(path) as raster:
            found = raster.info
    except RasterError:
        return None
    sources = found.map_source, scene_file(info.path)
    if all(map(os.path.exists, sources)) and not os.path.samefile(*sources):
        return None
    places = found.georeference.transform, info.georeference.transform
    expected = scene_name(info.path), info.shape
    is_map = (found.map_of, found.shape) == expected and places[0] == places[1]
    return found if is_map else None


def count_windows(job: SceneJob, tiling: Tiling) -> int:
    """Return the number of windows to predict."""
    return 0 if job.outputs.is_mapped else len(scene_windows(*job.info.shape, tiling))


def run_job(
    model: BaseSegmentor | WindowModel,
    job: SceneJob,
    settings: MapSettings,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> list[str]:
    """Write all outputs of a scene.

    Args:
        model: Segmentor in evaluation mode, or an exported model.
        job: The scene and its outputs.
        settings: Settings of the call.
        advance: See :func:`dnas_mmseg.mapping.scene.predict_scene`.

    Returns:
        Notes on assumptions and skipped parts, one line each.

    Raises:
        RasterError, UserError: See :func:`dnas_mmseg.mapping.scene.predict_scene`.
    """
    notes = list(job.notes)
    if not job.outputs.is_mapped:
        notes += predict_scene(
            model,
            job.source,
            job.target,
            tiling=settings.tiling,
            products=settings.products,
            advance=advance,
        )
    with _derived_lock:
        return notes + write_derived(job, settings)


def write_derived(job: SceneJob, settings: MapSettings) -> list[str]:
    """Write the products that are computed from the finished map; return notes."""
    mapped = MappedScene(
        job.info,
        job.bands,
        job.source.nodata,
        job.source.skip_bad_blocks,
        job.target,
        settings.classes,
    )
    return [note for product in job.outputs.missing for note in product.write(mapped)]
