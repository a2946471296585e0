"""Prediction of a georeferenced class map of a scene of any size, a strip at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from dnas_mmseg.datasets.tiles import tile_windows
from dnas_mmseg.errors import UserError
from dnas_mmseg.raster import Raster, RasterError, RasterInfo, Window, block_cache, write_strips

from .products import MapProducts
from .windows import Precision, SegmentorWindows, WindowModel, logits_of_flips

if TYPE_CHECKING:
    from mmseg.models import BaseSegmentor

NODATA = 255
_AHEAD = 3
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


def blending_weights(size: int, overlap: int, first: bool, last: bool) -> np.ndarray:
    """Return the weights along a window's side, for its logits where windows overlap.

    Towards a neighbour they fall smoothly from 1 to 0, and are 0 in the outermost quarter of the
    overlap: logits at a window's edge, where the network sees nothing beyond, do not count. At the
    scene's own border there is no neighbour, and they stay 1.

    Args:
        size: Length of the side, in pixels.
        overlap: Number of pixels shared with a neighbour.
        first, last: Whether the side begins, or ends, at the scene's border.

    Returns:
        Weights, float32 (size,).
    """
    margin = overlap // 4
    distance = np.arange(size) + 0.5
    weights = np.ones(size)
    for at_border, inwards in ((first, distance), (last, distance[::-1])):
        if overlap and not at_border:
            ramp = np.clip((inwards - margin) / (overlap - 2 * margin), 0, 1)
            weights = np.minimum(weights, np.sin(0.5 * np.pi * ramp) ** 2)
    return weights.astype(np.float32)


def predict_scene(
    model: BaseSegmentor | WindowModel,
    source: str | os.PathLike,
    target: str | os.PathLike,
    *,
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
    bands: Sequence[int] | None = None,
    nodata: float | None = None,
    tiling: Tiling = Tiling(),
    products: MapProducts = MapProducts(),  # noqa: B008  immutable
    skip_bad_blocks: bool = False,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> list[str]:
    """Predict a class map.

    Windows overlap, and their logits are blended with weights that fall towards their borders, so
    that no seam shows. Reading ahead, the network and writing work at the same time; a strip of one
    window's height is held in memory, whatever the scene's.

    Args:
        model: Segmentor in evaluation mode, of any kind that mmseg has; or an exported one.
        source: Path of the scene.
        target: Path of the map: uint8, Cloud-Optimised GeoTIFF, with the scene's reference system.
        classes, palette: Names and colours of the classes, in train-id order.
        bands: Indices of the scene's bands that the model takes, from 0, in its order; by default
            all but alpha.
        nodata: Value that is nodata beside what the scene declares.
        tiling: Windows, flips and precision.
        products: Rasters to write beside the map; :func:`predict_scenes` makes the products that
            are drawn from the finished map.
        skip_bad_blocks: Whether to leave windows that cannot be read without a class, instead of
            failing.
        advance: Function that is called with the number of windows done and of all.

    Returns:
        Notes, a line each: windows that cannot be read, a missing reference system.

    Raises:
        RasterError: The scene cannot be read, or a map cannot be written; nothing is left then.
        UserError: A chosen band is not in the scene, or their number is not that of the model.
    """
    target = Path(target)
    with Raster(source) as raster:
        info = raster.info
    place = info.georeference
    notes = [] if place.known else [f'{source}: no reference system, so the map has none']
    windows = SegmentorWindows(model, tiling.precision) if isinstance(model, nn.Module) else model
    wanted = windows.num_bands
    chosen = list(info.data_bands if bands is None else bands)
    if max(chosen, default=-1) >= info.bands or (wanted and len(chosen) != wanted):
        raise UserError(
            f'{source} has {info.bands} bands{_named(info)}; the model takes {wanted}, chosen are '
            f'{chosen} (from 0)'
        )
    grid: dict[str, Any] = dict(height=info.height, width=info.width, georeference=place)
    with ExitStack() as stack:
        stack.enter_context(block_cache(_CACHE))
        writers = [
            stack.enter_context(
                write_strips(
                    target,
                    **grid,
                    nodata=NODATA,
                    palette=palette,
                    classes=classes,
                    resampling='MODE',
                )
            )
        ]
        paths = products.paths(target)
        for kind, names in (
            ('confidence', ('confidence, percent',)),
            ('probabilities', tuple(f'{name}, percent' for name in classes)),
        ):
            if kind in paths:
                writer = write_strips(
                    paths[kind], **grid, names=names, nodata=NODATA, resampling='AVERAGE'
                )
                writers.append(stack.enter_context(writer))
        strips = _Strips(len(classes), info, tiling, windows.threshold)
        reader = _Reader(Raster(source, nodata), info, chosen, tiling, skip_bad_blocks, notes)
        disk = stack.enter_context(ThreadPoolExecutor(1))
        pending: list[Future] = []
        done, total = 0, len(reader.windows)
        for batch in reader.batches():
            images = batch.images
            logits = logits_of_flips(windows, images) if tiling.flips else windows.logits(images)
            for ready in strips.add(batch, logits):
                pending.append(disk.submit(_write, writers, ready, products))
                while len(pending) > 1:
                    pending.pop(0).result()
            done += len(batch.windows)
            advance(done, total)
        for future in pending:
            future.result()
    return notes


class _Batch(NamedTuple):
    """Windows of one row of windows, their samples, and masks of the missing ones."""

    windows: list[Window]
    images: list[Tensor]
    missing: list[np.ndarray | None]


class _Ready(NamedTuple):
    """Rows of the scene that no further window touches."""

    row: int
    classes: np.ndarray  # uint8 (rows, width)
    probabilities: np.ndarray  # (classes, rows, width)
    missing: np.ndarray  # (rows, width)


class _Reader:
    """Reader of windows ahead, in one thread of its own, as GDAL's handles need it."""

    def __init__(
        self,
        raster: Raster,
        info: RasterInfo,
        bands: list[int],
        tiling: Tiling,
        skip_bad_blocks: bool,
        notes: list[str],
    ) -> None:
        self.raster, self.info, self.bands = raster, info, bands
        self.tiling, self.skip, self.notes = tiling, skip_bad_blocks, notes
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
            if not group or len(group) == self.tiling.batch or group[0].row != window.row:
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
        images: list[Tensor] = []
        missing: list[np.ndarray | None] = []
        for window in windows:
            try:
                samples = self.raster.samples(window, self.bands)
                # As in training: the preprocessor makes the means of what is invalid.
                values, gone = samples.without_invalid(), samples.invalid
            except RasterError as error:
                if not self.skip:
                    raise RasterError(
                        f'{error}; skip_bad_blocks leaves it without a class'
                    ) from None
                self.notes.append(str(error))
                values = np.full((len(self.bands), window.height, window.width), np.nan, np.float32)
                gone = np.ones((window.height, window.width), bool)
            images.append(_tensor(values))
            missing.append(gone)
        return _Batch(windows, images, missing)


class _Strips:
    """Sum of the weighted logits of a row of windows, which hands out complete rows."""

    def __init__(
        self, classes: int, info: RasterInfo, tiling: Tiling, threshold: float | None
    ) -> None:
        self.height, self.width, self.threshold = info.height, info.width, threshold
        rows = min(tiling.window, self.height)
        channels = classes if threshold is None else 1
        self.logits = np.zeros((channels, rows, self.width), np.float32)
        self.weights = np.zeros((rows, self.width), np.float32)
        self.missing = np.zeros((rows, self.width), bool)
        self.top, self.overlap = 0, tiling.shared

    def add(self, batch: _Batch, logits: np.ndarray) -> Iterator[_Ready]:
        """Add a batch; yield the rows that are complete before it, and at the end those left."""
        if batch.windows[0].row > self.top:
            yield self._take(batch.windows[0].row - self.top)
        for window, values, missing in zip(batch.windows, logits, batch.missing, strict=True):
            columns = slice(window.column, window.column + window.width)
            down, across = (
                blending_weights(size, self.overlap, start == 0, start + size == whole)
                for start, size, whole in (
                    (window.row, window.height, self.height),
                    (window.column, window.width, self.width),
                )
            )
            weight = down[:, None] * across
            self.logits[:, :, columns] += weight * values
            self.weights[:, columns] += weight
            if missing is not None:
                self.missing[:, columns] |= missing
        last = batch.windows[-1]
        if last.row + last.height == self.height and last.column + last.width == self.width:
            yield self._take(self.height - self.top)

    def _take(self, rows: int) -> _Ready:
        """Return the uppermost rows, and move up the others."""
        blended = self.logits[:, :rows] / self.weights[:rows]
        if self.threshold is None:
            blended -= blended.max(0)
            np.exp(blended, out=blended)
            blended /= blended.sum(0)
            classes = blended.argmax(0)
        else:  # a binary head: the logit of the second class
            positive = 1 / (1 + np.exp(-blended[0].clip(-80, 80)))
            classes = positive > self.threshold
            blended = np.stack([1 - positive, positive])
        missing = self.missing[:rows].copy()
        ready = _Ready(self.top, classes.astype(np.uint8), blended, missing)
        for array in (self.logits, self.weights, self.missing):
            left = array.shape[-2] - rows
            array[..., :left, :] = array[..., rows:, :]
            array[..., left:, :] = 0
        self.top += rows
        return ready


def _write(writers: list, ready: _Ready, products: MapProducts) -> None:
    """Write class, confidence and probabilities of some rows."""
    classes = np.where(ready.missing, np.uint8(NODATA), ready.classes)
    writers[0](ready.row, classes[None])
    others = iter(writers[1:])
    if not (products.confidence or products.probabilities):
        return
    percent = np.rint(100 * ready.probabilities).astype(np.uint8)
    percent[:, ready.missing] = NODATA
    if products.confidence:
        chosen = np.take_along_axis(percent, ready.classes[None].astype(np.intp), 0)
        next(others)(ready.row, chosen)
    if products.probabilities:
        next(others)(ready.row, percent)


def _tensor(samples: np.ndarray) -> Tensor:
    """Return the samples as a tensor; types that torch hardly computes with become float32."""
    if samples.dtype.kind == 'u' and samples.dtype != np.uint8:
        samples = samples.astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(samples))


def _named(info: RasterInfo) -> str:
    return f' ({", ".join(info.told)})' if all(info.told) else ''
