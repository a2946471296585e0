"""Prediction of georeferenced class maps of scenes of any size, with bounded memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from dnas_mmseg.bands import band_names
from dnas_mmseg.classes import ClassScheme
from dnas_mmseg.errors import UserError
from dnas_mmseg.files import file_states
from dnas_mmseg.raster import (
    Raster,
    RasterError,
    RasterInfo,
    Window,
    block_cache,
    write_strips,
)

from .blending import Part, WindowBlender
from .plausibility import describe_deviation
from .products import MapProducts, RasterProduct, map_grid
from .row_blocks import RowBlock, block_path, select_windows
from .windows import (
    Precision,
    SegmentorWindows,
    WindowModel,
    average_flips,
    is_hardware_error,
)

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
        Notes, one line each: deviations from the training tiles, a missing CRS, unreadable windows.

    Raises:
        RasterError: The scene cannot be read or changes during prediction, or a map cannot be
            written. No file is left in these cases.
        UserError: A selected band does not exist, the model expects another number of bands, or it
            does not support the windows.

    Example:
        >>> model = load_segmentor(config, 'work_dirs/mine/best.pth')  # doctest: +SKIP
        >>> predict_scene(model, 'scene.tif', 'map.tif', tiling=Tiling(512))  # doctest: +SKIP
    """
    target = Path(target)
    with _open_scene(model, source, tiling) as scene:
        notes = scene.describe()
        with _write_rasters(scene, products.rasters, target) as write:
            notes += _predict_rows(scene, write, tiling, advance=advance)
    return notes


def predict_block(
    model: BaseSegmentor | WindowModel,
    source: SceneSource | str | os.PathLike,
    block: RowBlock,
    folder: str | os.PathLike,
    *,
    tiling: Tiling = Tiling(),
    products: MapProducts = MapProducts(),  # noqa: B008  immutable
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> list[str]:
    """Predict some rows of a scene for :func:`dnas_mmseg.mapping.row_blocks.join_blocks`.

    All windows that reach into the block are predicted in the batches in which
    :func:`predict_scene` predicts them, so that the samples are the same.

    Args:
        model, source, tiling, products, advance: See :func:`predict_scene`.
        block: Rows of the block.
        folder: Folder of the rows, one file per raster product, each written atomically.

    Returns:
        Notes, one line each; those on the whole scene with its first block.

    Raises:
        RasterError, UserError: See :func:`predict_scene`.
    """
    folder = Path(folder)
    with _open_scene(model, source, tiling) as scene, ExitStack() as stack:
        writers = []
        for product in products.rasters:
            layout = product.layout(scene.classes)
            writer = write_strips(
                block_path(folder, product, block),
                height=block.bottom - block.top,
                width=scene.info.width,
                names=layout.get('names', ('',)),
                nodata=layout['nodata'],
                cog=False,
            )
            writers.append((product, stack.enter_context(writer)))

        def write(part: Part) -> None:
            part = part.crop_rows(block.top, block.bottom)
            if part.classes.size:
                for product, write_samples in writers:
                    write_samples(product.samples(part), part.row - block.top, part.column)

        notes = scene.describe() if block.top == 0 else []
        return notes + _predict_rows(scene, write, tiling, block, advance)


@dataclass(frozen=True)
class _OpenScene:
    """Scene that is open for prediction, with its model."""

    model: WindowModel
    source: SceneSource
    raster: Raster
    bands: list[int]
    classes: ClassScheme
    state: dict[str, tuple[int, int]]

    @property
    def info(self) -> RasterInfo:
        return self.raster.info

    def describe(self) -> list[str]:
        """Return notes if the scene deviates from the training tiles, or has no CRS."""
        names = band_names(self.model.dataset_meta.get('bands'))
        notes = []
        with suppress(RasterError):  # reported when the window is predicted
            notes += describe_deviation(self.model.normalisation, self.raster, self.bands, names)
        if not self.info.georeference.is_defined:
            notes.append(f'{self.source.path}: the scene has no CRS, so the map has none')
        return notes

    def check_unchanged(self) -> None:
        """Raise an error if a file of the scene has changed since it was opened."""
        try:
            state = file_states(self.state)
        except OSError:
            state = {}
        if state != self.state:
            raise RasterError(
                f'{self.source.path} changed during prediction; run the prediction again'
            )


@contextmanager
def _open_scene(
    model: BaseSegmentor | WindowModel, source: SceneSource | str | os.PathLike, tiling: Tiling
) -> Iterator[_OpenScene]:
    if not isinstance(source, SceneSource):
        source = SceneSource(source)
    windows = SegmentorWindows(model, tiling.precision) if isinstance(model, nn.Module) else model
    with (
        block_cache(_CACHE),
        Raster(source.path, source.nodata, source.apply_scale) as raster,
    ):
        state = file_states(raster.find_files())
        info = raster.info
        bands = list(info.data_bands if source.bands is None else source.bands)
        _check_bands(info, bands, windows.num_bands)
        classes = ClassScheme.from_metainfo(windows.dataset_meta)
        yield _OpenScene(windows, source, raster, bands, classes, state)


@contextmanager
def _write_rasters(
    scene: _OpenScene, products: Sequence[RasterProduct], target: Path
) -> Iterator[Callable[[Part], None]]:
    """Yield a function that writes a part to all raster products."""
    weights = scene.model.dataset_meta.get('weights') or ''
    grid = map_grid(scene.info, weights)
    with ExitStack() as stack:
        writers = [
            stack.enter_context(write_strips(p.path(target), **p.layout(scene.classes), **grid))
            for p in products
        ]

        def write(part: Part) -> None:
            for product, write_samples in zip(products, writers, strict=True):
                write_samples(product.samples(part), part.row, part.column)

        yield write


def _check_finite(part: Part, path: str | os.PathLike) -> None:
    """Check that the network returned numbers; their blend is NaN otherwise, for all classes."""
    wrong = np.isnan(part.probabilities[0]) & ~part.missing
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise UserError(
            f'{path}: the network returned NaN or infinite values at row {part.row + row}, column '
            f'{part.column + column}: declare fill values with --nodata, use --precision float32 '
            'or bfloat16, or check the weights'
        )


def _predict_rows(
    scene: _OpenScene,
    write_part: Callable[[Part], None],
    tiling: Tiling,
    block: RowBlock | None = None,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> list[str]:
    """Predict a scene or a block of its rows, and write the parts in a thread of its own.

    Returns:
        Notes on unreadable windows.
    """
    notes: list[str] = []
    windows = scene_windows(*scene.info.shape, tiling)
    if block is not None:
        windows = select_windows(windows, block, scene.info.height, tiling.shared)
    reader = _Reader(
        scene.raster, scene.bands, windows, tiling.batch, scene.source.skip_bad_blocks, notes
    )
    model = scene.model
    blender = WindowBlender(
        len(scene.classes), *scene.info.shape, windows, tiling.shared, model.threshold
    )
    with _one_thread(len(windows) > tiling.batch) as disk:
        pending: list[Future] = []

        def write(parts: Iterable[Part]) -> None:
            for part in parts:
                _check_finite(part, scene.source.path)
                pending.append(disk.submit(write_part, part))
                while len(pending) > 1:
                    pending.pop(0).result()

        done = 0
        for batch in reader.batches():
            if batch.windows:
                images = batch.images
                logits = _run_network(model, images, tiling.flips, scene.source.path)
                for window, values, missing in zip(
                    batch.windows, logits, batch.missing, strict=True
                ):
                    write(blender.add(window, values, missing))
            done += batch.read
            advance(done, len(windows))
        write(blender.finish())
        for future in pending:
            future.result()
    scene.check_unchanged()
    return notes


def _run_network(
    model: WindowModel, images: list[Tensor], flips: bool, path: str | os.PathLike
) -> np.ndarray:
    """Return the logits of windows; an error of the network becomes an error of the scene.

    Raises:
        UserError: The network does not support the windows.
    """
    try:
        return average_flips(model, images) if flips else model.logits(images)
    except (AssertionError, RuntimeError) as error:
        if is_hardware_error(error):  # not of this scene alone
            raise
        height, width = images[0].shape[1:]
        reason = str(error).partition('\n')[0]
        raise UserError(
            f'{path}: the network fails on windows of {height} x {width} pixels '
            f'({type(error).__name__}: {reason}); change --window, or use another network'
        ) from error


def scene_windows(height: int, width: int, tiling: Tiling) -> list[Window]:
    """Return the windows of a scene row by row, clipped to scenes smaller than a window.

    They are spaced evenly and overlap by at least the overlap of the tiling. If all but the last
    were a fixed distance apart, the last row could nearly cover the row above it, and the sums of
    both would have to be held over the width of the scene.
    """
    rows, columns = (
        _even_starts(length, tiling.window, tiling.shared) for length in (height, width)
    )
    size = min(tiling.window, width), min(tiling.window, height)
    return [Window(column, row, *size) for row in rows for column in columns]


def _even_starts(length: int, size: int, overlap: int) -> list[int]:
    """Return the positions of as few windows as cover a length."""
    count = max(1, -(-(length - overlap) // (size - overlap)))
    return [round(i * (length - size) / (count - 1)) if i else 0 for i in range(count)]


def _check_bands(info: RasterInfo, bands: list[int], wanted: int | None) -> None:
    if max(bands, default=-1) >= info.bands or (wanted and len(bands) != wanted):
        names = f' ({", ".join(info.band_names)})' if all(info.band_names) else ''
        raise UserError(
            f'{info.path} has {info.bands} bands{names}; the model expects {wanted}, selected are '
            f'the zero-based indices {bands}'
        )


class _SameThread(Executor):
    """Executor that calls functions at once: a scene of one batch has nothing to do meanwhile."""

    def submit(self, fn: Callable, /, *args: Any, **kwargs: Any) -> Future:
        future: Future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def _one_thread(is_parallel: bool) -> Executor:
    return ThreadPoolExecutor(1) if is_parallel else _SameThread()


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
        windows: Sequence[Window],
        batch: int,
        skip_bad_blocks: bool,
        notes: list[str],
    ) -> None:
        self.raster, self.bands, self.windows = raster, bands, windows
        self.batch, self.skip, self.notes = batch, skip_bad_blocks, notes

    def batches(self) -> Iterator[_Batch]:
        """Yield batches from top to bottom; a batch does not span two rows of windows."""
        groups: list[list[Window]] = []
        for window in self.windows:
            group = groups[-1] if groups else []
            if not group or len(group) == self.batch or group[0].row_off != window.row_off:
                groups.append([])
            groups[-1].append(window)
        with _one_thread(len(groups) > 1) as pool:
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


def _tensor(samples: np.ndarray) -> Tensor:
    """Return samples as a tensor; convert dtypes that torch barely supports to float32."""
    if samples.dtype.kind == 'u' and samples.dtype != np.uint8:
        samples = samples.astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(samples))
