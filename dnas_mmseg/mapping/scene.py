"""Prediction of a georeferenced class map of a scene of any size, a strip at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from dnas_mmseg.classes import ClassScheme
from dnas_mmseg.datasets.tiles import tile_windows
from dnas_mmseg.errors import UserError
from dnas_mmseg.raster import (
    Raster,
    RasterError,
    RasterInfo,
    Window,
    block_cache,
    is_virtual,
    raster_stem,
    source_files,
)

from .blending import Part, WindowBlender
from .products import MapProducts
from .windows import Precision, SegmentorWindows, WindowModel, logits_of_flips

if TYPE_CHECKING:
    from mmseg.models import BaseSegmentor

_AHEAD = 3
"""Number of batches that are read ahead: one in the network, and two that hide a slow read."""

_CACHE = 256 * 2**20
"""Size of GDAL's block cache, in bytes: the rows that two rows of windows share."""


@dataclass(frozen=True)
class Tiling:
    """Settings by which a scene goes through the network in windows.

    Attributes:
        window: Side of the windows that it is cut into, in pixels.
        overlap: Number of pixels that neighbouring windows share, where their logits are blended; a
            quarter of the window by default.
        batch: Number of windows per forward pass.
        flips: Whether to average over the four flips of every window.
        precision: Precision of :class:`SegmentorWindows`; an exported model has its own.

    Raises:
        UserError: A value is not possible.
    """

    window: int = 512
    overlap: int | None = None
    batch: int = 4
    flips: bool = False
    precision: Precision = 'float32'

    def __post_init__(self) -> None:
        if self.window < 1 or self.batch < 1:
            raise UserError(f'window = {self.window}, batch = {self.batch}: at least 1 is needed')
        if self.overlap is None:
            object.__setattr__(self, 'overlap', self.window // 4)
        if not 0 <= self.shared < self.window:
            raise UserError(
                f'overlap = {self.overlap}: it must be less than the window ({self.window})'
            )

    @property
    def shared(self) -> int:
        """Overlap in pixels, never None."""
        assert self.overlap is not None
        return self.overlap


@dataclass(frozen=True)
class SceneSource:
    """A scene, and how it is read.

    Attributes:
        path: Path of the scene, or another name that GDAL opens.
        bands: Indices of the bands that the model takes, from 0, in its order; by default all but
            alpha.
        nodata: Nodata value in addition to those that the scene declares.
        apply_scale: Whether the model takes samples with the scene's scale and offset applied.
        skip_bad_blocks: Whether to leave windows that cannot be read without a class, instead of
            failing.
    """

    path: str | os.PathLike
    bands: Sequence[int] | None = None
    nodata: float | None = None
    apply_scale: bool = False
    skip_bad_blocks: bool = False


def predict_scene(
    model: BaseSegmentor | WindowModel,
    source: SceneSource | str | os.PathLike,
    target: str | os.PathLike,
    *,
    tiling: Tiling = Tiling(),
    products: MapProducts = MapProducts(),  # noqa: B008  immutable
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> list[str]:
    """Predict a class map.

    Windows overlap, and their logits are blended with weights that fall towards their borders, so
    that no seam shows. Windows without a valid pixel are not computed. Reading ahead, the network
    and writing work at the same time; memory holds what two rows of windows share, whatever the
    scene's height.

    Args:
        model: Segmentor in evaluation mode, of any kind that mmseg has; or an exported one. Its
            ``dataset_meta`` names the classes.
        source: The scene, or its path.
        target: Path of the map: uint8, Cloud-Optimized GeoTIFF, with the scene's georeference.
        tiling: Windows, flips and precision.
        products: Rasters to write next to the map; :func:`predict_scenes` makes the products of
            the finished map.
        advance: Function that is called with the number of windows done and of all.

    Returns:
        Notes, a line each: windows that cannot be read, a missing CRS.

    Raises:
        RasterError: The scene cannot be read or changes meanwhile, or a map cannot be written;
            nothing is left then.
        UserError: A chosen band is not in the scene, or their number is not that of the model.

    Example:
        >>> model = load_segmentor(config, 'work_dirs/mine/best.pth')  # doctest: +SKIP
        >>> predict_scene(model, 'scene.tif', 'map.tif', tiling=Tiling(512))  # doctest: +SKIP
    """
    if not isinstance(source, SceneSource):
        source = SceneSource(source)
    target = Path(target)
    files = source_files(source.path)
    before = _state(files)
    windows = SegmentorWindows(model, tiling.precision) if isinstance(model, nn.Module) else model
    classes = ClassScheme.from_metainfo(windows.dataset_meta)
    with ExitStack() as stack:
        stack.enter_context(block_cache(_CACHE))
        raster = stack.enter_context(Raster(source.path, source.nodata, source.apply_scale))
        info = raster.info
        bands = list(info.data_bands if source.bands is None else source.bands)
        _check_bands(info, bands, windows.num_bands)
        place = info.georeference
        notes = [] if place.is_defined else [f'{source.path}: no CRS, so the map has none']
        grid: dict[str, Any] = dict(
            height=info.height, width=info.width, georeference=place, map_of=scene_name(source.path)
        )
        rasters = products.rasters
        writers = [stack.enter_context(p.open(target, classes, grid)) for p in rasters]
        reader = _Reader(raster, bands, tiling, source.skip_bad_blocks, notes)
        blender = WindowBlender(
            len(classes), *info.shape, reader.windows, tiling.shared, windows.threshold
        )
        disk = stack.enter_context(ThreadPoolExecutor(1))
        pending: list[Future] = []

        def write_part(part: Part) -> None:
            for product, write in zip(rasters, writers, strict=True):
                write(product.samples(part), part.row, part.column)

        def write(parts: Iterable[Part]) -> None:
            for part in parts:
                pending.append(disk.submit(write_part, part))
                while len(pending) > 1:
                    pending.pop(0).result()

        done, total = 0, len(reader.windows)
        for batch in reader.batches():
            if batch.windows:
                images = batch.images
                logits = (
                    logits_of_flips(windows, images) if tiling.flips else windows.logits(images)
                )
                for window, values, missing in zip(
                    batch.windows, logits, batch.missing, strict=True
                ):
                    write(blender.add(window, values, missing))
            done += batch.read
            advance(done, total)
        write(blender.finish())
        for future in pending:
            future.result()
        if _state(files) != before:
            raise RasterError(f'{source.path} was changed while it was read: map it again')
    return notes


def _check_bands(info: RasterInfo, bands: list[int], wanted: int | None) -> None:
    if max(bands, default=-1) >= info.bands or (wanted and len(bands) != wanted):
        named = f' ({", ".join(info.band_names)})' if all(info.band_names) else ''
        raise UserError(
            f'{info.path} has {info.bands} bands{named}; the model takes {wanted}, chosen are '
            f'{bands} (from 0)'
        )


class _Batch(NamedTuple):
    """Windows of one row of windows that have a valid pixel, their samples and missing pixels."""

    windows: list[Window]
    images: list[Tensor]
    missing: list[np.ndarray | None]
    read: int  # windows without a valid pixel included


class _Reader:
    """Reader of windows ahead, in one thread of its own, as GDAL's handles need it."""

    def __init__(
        self,
        raster: Raster,
        bands: list[int],
        tiling: Tiling,
        skip_bad_blocks: bool,
        notes: list[str],
    ) -> None:
        self.raster, self.bands = raster, bands
        self.tiling, self.skip, self.notes = tiling, skip_bad_blocks, notes
        info = raster.info
        self.windows = [
            window._replace(
                height=min(window.height, info.height), width=min(window.width, info.width)
            )
            for window in tile_windows(
                info.height, info.width, tiling.window, tiling.window - tiling.shared
            )
        ]

    def batches(self) -> Iterator[_Batch]:
        """Yield batches from top to bottom; each lies in one row of windows."""
        groups: list[list[Window]] = []
        for window in self.windows:
            group = groups[-1] if groups else []
            if not group or len(group) == self.tiling.batch or group[0].row_off != window.row_off:
                groups.append([])
            groups[-1].append(window)
        with ThreadPoolExecutor(1) as pool:
            waiting = [pool.submit(self._read, group) for group in groups[:_AHEAD]]
            for i in range(len(groups)):
                batch = waiting.pop(0).result()
                if i + _AHEAD < len(groups):
                    waiting.append(pool.submit(self._read, groups[i + _AHEAD]))
                yield batch

    def _read(self, windows: list[Window]) -> _Batch:
        batch = _Batch([], [], [], len(windows))
        for window in windows:
            try:
                samples = self.raster.samples(window, self.bands)
            except RasterError as error:
                if not self.skip:
                    raise RasterError(
                        f'{error}; skip_bad_blocks (--skip-bad-blocks) leaves it without a class'
                    ) from None
                self.notes.append(str(error))
                continue
            missing = samples.invalid
            if missing is not None and missing.all():
                continue
            batch.windows.append(window)
            # As in training: the preprocessor makes the means of what is invalid.
            batch.images.append(_tensor(samples.without_invalid()))
            batch.missing.append(missing)
        return batch


def scene_name(path: str | os.PathLike) -> str:
    """Return the name of a scene that its maps store: that of its file, or of GDAL's own path."""
    return raster_stem(path) if is_virtual(path) else Path(path).name


def _state(files: Iterable[Path]) -> list[tuple[int, int]]:
    return [(stat.st_size, stat.st_mtime_ns) for stat in map(Path.stat, files)]


def _tensor(samples: np.ndarray) -> Tensor:
    """Return the samples as a tensor; types that torch hardly computes with become float32."""
    if samples.dtype.kind == 'u' and samples.dtype != np.uint8:
        samples = samples.astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(samples))
