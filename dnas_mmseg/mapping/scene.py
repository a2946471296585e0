"""Prediction of georeferenced class maps of scenes of any size, with bounded memory."""

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
from .windows import Precision, SegmentorWindows, WindowModel, average_flips

if TYPE_CHECKING:
    from mmseg.models import BaseSegmentor

_AHEAD = 3
"""Number of batches in flight: one in the network, and two more that absorb slow reads. More would
only use more memory."""

_CACHE = 256 * 2**20
"""Size of GDAL's block cache, in bytes. It holds the rows shared by two rows of windows, which are
then decompressed once; GDAL's default, 5 % of the memory, would add up over processes."""


@dataclass(frozen=True)
class Tiling:
    """Configure the prediction of a scene in overlapping windows.

    Attributes:
        window: Side of the windows, in pixels.
        overlap: Number of pixels shared by neighbouring windows, where logits are blended; defaults
            to a quarter of the window.
        batch: Number of windows per forward pass.
        flips: Whether to average over the four flips of every window, at four times the cost.
        precision: Precision of :class:`SegmentorWindows`; exported models ignore it.

    Raises:
        UserError: A value is out of range.

    Example:
        >>> Tiling(window=256).overlap
        64
    """

    window: int = 512
    overlap: int | None = None
    batch: int = 4
    flips: bool = False
    precision: Precision = 'float32'

    def __post_init__(self) -> None:
        if self.window < 1 or self.batch < 1:
            raise UserError(f'window = {self.window}, batch = {self.batch}: must be at least 1')
        if self.overlap is None:
            object.__setattr__(self, 'overlap', self.window // 4)
        if not 0 <= self.shared < self.window:
            raise UserError(
                f'overlap = {self.overlap}: must be from 0 to less than the window ({self.window})'
            )

    @property
    def shared(self) -> int:
        """Overlap in pixels; unlike ``overlap``, its type excludes None."""
        assert self.overlap is not None
        return self.overlap


@dataclass(frozen=True)
class SceneSource:
    """Describe a scene and how to read it.

    Attributes:
        path: Path of the scene, or another data set name that GDAL opens.
        bands: Zero-based indices of the input bands, in the order of the model; defaults to all
            bands except alpha.
        nodata: Nodata value in addition to the declared ones.
        apply_scale: Whether to apply the scale and offset of the scene.
        skip_bad_blocks: Whether to leave unreadable windows without a class instead of failing.

    Example:
        >>> SceneSource('scene.tif', bands=(3, 0, 1, 2), nodata=0).bands
        (3, 0, 1, 2)
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
    """Predict the class map of a scene.

    The logits of overlapping windows are blended with weights that fall towards the window borders,
    which avoids seams. Windows without a valid pixel are skipped. Reading, inference and writing
    run in parallel. Memory is proportional to the overlap of two rows of windows and does not
    depend on the height of the scene.

    Args:
        model: Any mmseg segmentor in evaluation mode, or an exported model. Its ``dataset_meta``
            must have ``classes``.
        source: The scene, or its path.
        target: Path of the map, a Cloud-Optimized GeoTIFF (uint8) with the scene's georeference.
        tiling: Windows, flips and precision.
        products: Rasters to write in addition to the map. Derived products are written by
            :func:`predict_scenes` only.
        advance: Progress callback, called with the numbers of finished and of all windows.

    Returns:
        Notes, one line each: unreadable windows, a missing CRS.

    Raises:
        RasterError: The scene cannot be read or changes during prediction, or a map cannot be
            written. No file is left in these cases.
        UserError: A selected band does not exist, or the model expects another number of bands.

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
        notes = (
            []
            if place.is_defined
            else [f'{source.path}: the scene has no CRS, so the map has none']
        )
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
                logits = average_flips(windows, images) if tiling.flips else windows.logits(images)
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
            raise RasterError(f'{source.path} changed during prediction; run the prediction again')
    return notes


def _check_bands(info: RasterInfo, bands: list[int], wanted: int | None) -> None:
    if max(bands, default=-1) >= info.bands or (wanted and len(bands) != wanted):
        names = f' ({", ".join(info.band_names)})' if all(info.band_names) else ''
        raise UserError(
            f'{info.path} has {info.bands} bands{names}; the model expects {wanted}, selected are '
            f'the zero-based indices {bands}'
        )


class _Batch(NamedTuple):
    """Windows of one row of windows with a valid pixel, their samples and missing pixels."""

    windows: list[Window]
    images: list[Tensor]
    missing: list[np.ndarray | None]
    read: int  # number of windows, including those without a valid pixel


class _Reader:
    """Read windows ahead in a single thread, because GDAL handles are not thread-safe."""

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
        """Yield batches from top to bottom; a batch does not span two rows of windows."""
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
                if self.raster.is_empty(window, self.bands):
                    continue
                samples = self.raster.samples(window, self.bands)
            except RasterError as error:
                if not self.skip:
                    raise RasterError(
                        f'{error}; skip_bad_blocks (--skip-bad-blocks) skips unreadable windows'
                    ) from None
                self.notes.append(str(error))
                continue
            missing = samples.invalid
            if missing is not None and missing.all():
                continue
            batch.windows.append(window)
            # As in training, the preprocessor replaces invalid samples by the band's mean.
            batch.images.append(_tensor(samples.without_invalid()))
            batch.missing.append(missing)
        return batch


def scene_name(path: str | os.PathLike) -> str:
    """Return the scene name that maps store: the file name, or the stem of a virtual path."""
    return raster_stem(path) if is_virtual(path) else Path(path).name


def _state(files: Iterable[Path]) -> list[tuple[int, int]]:
    return [(stat.st_size, stat.st_mtime_ns) for stat in map(Path.stat, files)]


def _tensor(samples: np.ndarray) -> Tensor:
    """Return samples as a tensor; convert dtypes that torch barely supports to float32."""
    if samples.dtype.kind == 'u' and samples.dtype != np.uint8:
        samples = samples.astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(samples))
