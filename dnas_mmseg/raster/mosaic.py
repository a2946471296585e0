"""Mosaics of class maps: one map on one grid, from maps that overlap or have several CRSs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dnas_mmseg.classes import NO_CLASS

from ._gdal import RasterError, block_cache, gdal, gdal_exceptions
from .georeference import crs_name
from .mosaic_grid import ClassMapFile, MosaicGrid, read_class_maps
from .mosaic_vrt import write_mosaic_vrt
from .reading import Raster
from .remote import network_settings
from .strips import write_strips
from .warping import RESAMPLINGS, warp_options
from .windows import Window, block_windows

MOSAIC_OVERLAPS = ('first', 'confidence', 'majority')
"""Rules for pixels in several maps."""

_BLOCK = 2048
"""Largest side of a block, in pixels; a multiple of the tiles of the mosaic."""

_COUNTERS = 256 << 20
"""Memory of the counters of the rule ``'majority'``, in bytes."""

_CACHE = 256 << 20
"""Size of GDAL's block cache, in bytes."""

_MAP_OF = 'mosaic'
"""Name that a mosaic stores instead of the mapped scene; it identifies mosaics."""


def write_mosaic(
    maps: Sequence[str | os.PathLike],
    path: str | os.PathLike,
    *,
    crs: str = '',
    resolution: float | None = None,
    overlap: str = 'first',
    resampling: str = 'nearest',
    confidences: Sequence[str | os.PathLike] = (),
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> list[str]:
    """Write class maps as one Cloud-Optimized GeoTIFF, and as a VRT that refers to them.

    Maps that share the grid of the mosaic are copied exactly, others are resampled, and never
    interpolated. The mosaic is computed block by block: memory, and the number of open files, do
    not depend on the number or the size of the maps. Blocks without a class are not stored.

    The VRT ``<stem>.vrt`` has the grid of the mosaic, and the first map of the list on top. Its
    paths are relative. Maps on another grid are reprojected when it is read, by a VRT of each in
    the folder ``<stem>_vrt``.

    Args:
        maps: Paths of maps of ``dnas predict``, all with the same classes.
        path: Path of the mosaic, ending in ``.tif``; an existing mosaic is overwritten.
        crs: CRS of the mosaic, such as ``EPSG:25832``, WKT or a PROJ string; defaults to that of
            most maps by ground area.
        resolution: Side of a pixel in units of the CRS; defaults to that of most maps in it. Edges
            of pixels are at its multiples, unless all maps share one grid with this resolution.
        overlap: Rule for pixels in several maps: class of the ``'first'`` map; of the map with the
            highest ``'confidence'``; or the most frequent class (``'majority'``). In ties, the
            first map decides. Nodata does not count.
        resampling: ``'nearest'``; or ``'mode'``, the most frequent class of the pixels inside a
            pixel of the mosaic, for coarser resolutions. Confidences are then averaged.
        confidences: Path of the confidence of each map, for the rule ``'confidence'``.
        advance: Progress callback, called with the numbers of finished and of all blocks.

    Returns:
        Notes on the grid and on resampled maps, one line each.

    Raises:
        RasterError: A map is unreadable, has no georeference or other classes, an argument is
            invalid, or a file cannot be written or is not a mosaic. No mosaic is left in these
            cases.

    Example:
        >>> write_mosaic(['a.tif', 'b.tif'], 'country.tif', crs='EPSG:3035')  # doctest: +SKIP
        ['country.tif: 2 maps, 1 of them resampled (nearest); 1700 rows x ... in EPSG:3035']
    """
    check_mosaic_path(path)
    for name, value, known in (
        ('overlap', overlap, MOSAIC_OVERLAPS),
        ('resampling', resampling, RESAMPLINGS),
    ):
        if value not in known:
            raise RasterError(f"{name} '{value}' is unknown: choose {', '.join(known)}")
    sources, classes = read_class_maps(maps)
    if overlap == 'confidence':
        _check_confidences(sources, confidences)
    grid = MosaicGrid.plan(sources, crs, resolution)
    merge = {'first': _merge_first, 'confidence': _merge_confident, 'majority': _merge_frequent}
    layers = _Layers(
        sources, grid, resampling, len(classes), tuple(os.fspath(p) for p in confidences)
    )
    blocks = block_windows(grid.height, grid.width, _block_side(overlap, len(classes)))
    with (
        block_cache(_CACHE),
        write_strips(
            path,
            height=grid.height,
            width=grid.width,
            nodata=NO_CLASS,
            georeference=grid.georeference,
            classes=classes,
            resampling='MODE',
            map_of=_MAP_OF,
        ) as write,
    ):
        for done, block in enumerate(blocks):
            inside = grid.find_maps(block)
            if inside:
                rule = merge[overlap] if len(inside) > 1 else _merge_first
                samples = rule(layers, inside, block)
                if (samples != NO_CLASS).any():
                    write(samples[None], block.row_off, block.col_off)
            advance(done + 1, len(blocks))
    write_mosaic_vrt(Path(path).with_suffix('.vrt'), sources, grid, classes, resampling, _MAP_OF)
    return [_describe(path, grid, resampling)]


def check_mosaic_path(path: str | os.PathLike) -> None:
    """Raise an error if a mosaic cannot be written to a path without overwriting another file.

    Raises:
        RasterError: The suffix is not ``.tif``, or the file or its VRT exists and is not a mosaic.
    """
    path = Path(path)
    if path.suffix.lower() not in ('.tif', '.tiff'):
        raise RasterError(f'{path}: the suffix of a mosaic must be .tif')
    for file in (path, path.with_suffix('.vrt')):
        if file.exists() and not _is_mosaic(file):
            raise RasterError(
                f'{file} exists and is not a mosaic: choose another path, or move the file'
            )


def _is_mosaic(path: Path) -> bool:
    try:
        with Raster(path) as raster:
            return raster.info.map_of == _MAP_OF
    except RasterError:
        return False


def _check_confidences(
    maps: Sequence[ClassMapFile], confidences: Sequence[str | os.PathLike]
) -> None:
    if len(confidences) != len(maps):
        raise RasterError(
            f"{len(confidences)} confidences of {len(maps)} maps: the rule 'confidence' requires "
            'one of each'
        )
    for source, path in zip(maps, (os.fspath(p) for p in confidences), strict=True):
        if not path.startswith('/vsi') and not Path(path).is_file():
            raise RasterError(
                f"{path}: no such file; the rule 'confidence' requires the confidence of each map: "
                'map the scenes with --confidence'
            )
        with Raster(path) as raster:
            info = raster.info
        place = info.georeference
        same = info.shape == (source.height, source.width) and place.transform == source.transform
        if info.dtypes != ('uint8',) or not same:
            raise RasterError(
                f'{path}: not the confidence of {source.path}: one band of uint8 on the same grid '
                'expected; map the scene again with --confidence'
            )


def _block_side(overlap: str, num_classes: int) -> int:
    """Return the side of a block: a power of two with bounded memory."""
    side = _BLOCK
    while overlap == 'majority' and side > 512 and 4 * num_classes * side**2 > _COUNTERS:
        side //= 2
    return side


@dataclass(frozen=True)
class _Layers:
    """Class maps and confidences on the grid of a mosaic.

    Attributes:
        maps: Class maps.
        grid: Grid of the mosaic.
        resampling: Resampling of class maps on another grid.
        num_classes: Number of classes.
        confidences: Confidence of each map; empty if not required.
    """

    maps: tuple[ClassMapFile, ...]
    grid: MosaicGrid
    resampling: str
    num_classes: int
    confidences: tuple[str, ...]

    def part(self, index: int, block: Window) -> Window:
        """Return the part of a block in the box of a map that intersects it."""
        part = self.grid.box(index).intersect(block)
        assert part is not None
        return part

    def classes(self, index: int, part: Window) -> np.ndarray:
        """Return the classes of a map in a part of its box, uint8 (height, width)."""
        path = self.maps[index].path
        samples = self._read(index, path, part, self.resampling)
        if ((samples >= self.num_classes) & (samples != NO_CLASS)).any():
            wrong = int(samples[(samples >= self.num_classes) & (samples != NO_CLASS)][0])
            raise RasterError(
                f'{path}: value {wrong} in a map of {self.num_classes} classes; map the scene again'
            )
        return samples

    def confidence(self, index: int, part: Window) -> np.ndarray:
        """Return the confidence of a map in a part of its box, uint8 (height, width)."""
        method = 'average' if self.resampling == 'mode' else self.resampling
        return self._read(index, self.confidences[index], part, method)

    def _read(self, index: int, path: str, part: Window, method: str) -> np.ndarray:
        if self.grid.aligned[index]:
            box = self.grid.box(index)
            column, row = part.col_off - box.col_off, part.row_off - box.row_off
            with Raster(path) as raster:
                return raster.read(part._replace(col_off=column, row_off=row))[0]
        try:
            with gdal_exceptions(), network_settings():
                target = gdal.GetDriverByName('MEM').Create('', part.width, part.height, 1)
                self.grid.georeference.moved(part.row_off, part.col_off).write(target)
                target.GetRasterBand(1).SetNoDataValue(NO_CLASS)
                # INIT_DEST alone leaves 0 in chunks that GDAL skips, as they are beyond the map.
                target.GetRasterBand(1).Fill(NO_CLASS)
                gdal.Warp(target, path, **warp_options(method))
                return target.ReadAsArray()
        except RuntimeError as error:
            raise RasterError(
                f'{path}: cannot be warped to {crs_name(self.grid.georeference.crs)} ({error})'
            ) from error


def _merge_first(layers: _Layers, inside: Sequence[int], block: Window) -> np.ndarray:
    """Return the class of the first map with one in each pixel."""
    result = np.full((block.height, block.width), NO_CLASS, np.uint8)
    for index in inside:
        part = layers.part(index, block)
        view = result[part.slices_in(block)]
        empty = view == NO_CLASS
        if empty.any():
            view[empty] = layers.classes(index, part)[empty]
    return result


def _merge_confident(layers: _Layers, inside: Sequence[int], block: Window) -> np.ndarray:
    """Return the class of the map with the highest confidence in each pixel."""
    result = np.full((block.height, block.width), NO_CLASS, np.uint8)
    highest = np.full(result.shape, -1, np.int16)
    for index in inside:
        part = layers.part(index, block)
        classes, found = layers.classes(index, part), layers.confidence(index, part)
        confidence = np.where(found == NO_CLASS, 0, found).astype(np.int16)
        view, best = (array[part.slices_in(block)] for array in (result, highest))
        better = (classes != NO_CLASS) & (confidence > best)
        view[better], best[better] = classes[better], confidence[better]
    return result


def _merge_frequent(layers: _Layers, inside: Sequence[int], block: Window) -> np.ndarray:
    """Return the most frequent class in each pixel.

    A map adds ``len(inside)`` to the counter of its class. The first map with a class also adds
    the number of maps after it, which is less, so that the largest counter breaks ties.
    """
    count = len(inside)
    counters = np.zeros((layers.num_classes, block.height, block.width), np.int32)
    for place, index in enumerate(inside):
        part = layers.part(index, block)
        classes = layers.classes(index, part)
        for train_id in np.unique(classes[classes != NO_CLASS]):
            view = counters[train_id][part.slices_in(block)]
            hit = classes == train_id
            view += np.where(view == 0, 2 * count - 1 - place, count) * hit
    result = counters.argmax(0).astype(np.uint8)
    result[~counters.any(0)] = NO_CLASS
    return result


def _describe(path: str | os.PathLike, grid: MosaicGrid, resampling: str) -> str:
    _, dx, skew_x, _, skew_y, dy = grid.georeference.transform or ()
    side = abs(dx * dy - skew_x * skew_y) ** 0.5
    resampled = int((~grid.aligned).sum())
    how = f'{resampled} of them resampled ({resampling})' if resampled else 'none resampled'
    return (
        f'{path}: {len(grid.aligned)} maps, {how}; {grid.height} rows x {grid.width} columns of '
        f'{side:.6g} {grid.unit} in {crs_name(grid.georeference.crs)}'
    )
