"""Areas of pixels on the ground, whatever the CRS, and areas of the classes of a map."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from osgeo import osr

from dnas_mmseg.classes import NO_CLASS

from ._gdal import RasterError, block_cache
from .georeference import GeoReference, crs_name, transform_points
from .reading import Raster
from .windows import Window, block_windows

_BLOCK = 2048
"""Side of the blocks that are read, in pixels; a multiple of the tiles of a map."""

_CACHE = 256 << 20
"""Size of GDAL's block cache, in bytes."""

_ERROR = 2e-5
"""Largest relative error of interpolated areas between the nodes of a lattice."""

_REACH = 8e6
"""Largest distance in metres from the centre of an equal-area projection, in which its distortion
of shapes leaves differences between neighbouring pixels accurate."""


def equal_area_crs(longitude: float, latitude: float) -> str:
    """Return an equal-area CRS in metres around a point on WGS 84, as WKT."""
    crs = osr.SpatialReference()
    crs.ImportFromProj4(
        f'+proj=laea +lat_0={latitude:.4f} +lon_0={longitude:.4f} +datum=WGS84 +units=m'
    )
    return crs.ExportToWkt()


def ground_areas(georeference: GeoReference, window: Window, name: str) -> np.ndarray:
    """Return the area of each pixel of a window on the WGS 84 ellipsoid.

    Areas are computed by an equal-area projection at the nodes of a lattice, and interpolated
    between them. The lattice is refined until the relative error is below 2e-5.

    Args:
        georeference: Georeference of the raster, with a geotransform and a CRS.
        window: Window of the raster.
        name: Name of the raster, for errors.

    Returns:
        Areas in square metres, float64 (height, width).

    Raises:
        RasterError: The raster has no geotransform or CRS, or a pixel is not on the Earth.
    """
    column, row = window.col_off + window.width / 2, window.row_off + window.height / 2
    middle = georeference.to_lonlat([(column, row)])
    if middle is None:
        raise RasterError(
            f'{name}: the ground area of its pixels is unknown, since row {row:.0f}, column '
            f'{column:.0f} is not on the Earth in {_describe_crs(georeference)}'
        )
    target = equal_area_crs(*middle[0])
    corners = [
        (window.col_off + x * window.width, window.row_off + y * window.height)
        for x in (0, 1)
        for y in (0, 1)
    ]
    reach = np.hypot(*_project(georeference, target, np.array(corners), name).T).max()
    if reach > _REACH and max(window.width, window.height) > 1:
        return np.block(
            [
                [ground_areas(georeference, part, name) for part in _halves(strip, axis=0)]
                for strip in _halves(window, axis=1)
            ]
        )
    intervals = 2
    columns, rows = _nodes(window.width, intervals), _nodes(window.height, intervals)
    areas = _areas_at(georeference, target, window, columns, rows, name)
    while intervals < max(window.width, window.height):
        intervals *= 2
        finer = _nodes(window.width, intervals), _nodes(window.height, intervals)
        exact = _areas_at(georeference, target, window, *finer, name)
        error = np.abs(_interpolate(areas, columns, rows, *finer) / exact - 1).max()
        (columns, rows), areas = finer, exact
        if error < _ERROR:
            break
    everywhere = np.arange(window.width), np.arange(window.height)
    return _interpolate(areas, columns, rows, *everywhere)


def _describe_crs(georeference: GeoReference) -> str:
    return crs_name(georeference.crs) if georeference.crs else 'no CRS'


def _halves(window: Window, axis: int) -> list[Window]:
    """Return the left and right half of a window (axis 0), or the upper and lower one (axis 1)."""
    start, length = window[axis], window[2 + axis]
    if length == 1:
        return [window]
    names = (('col_off', 'width'), ('row_off', 'height'))[axis]
    half = length // 2
    parts = ((start, half), (start + half, length - half))
    return [window._replace(**dict(zip(names, part, strict=True))) for part in parts]


def _nodes(length: int, intervals: int) -> np.ndarray:
    """Return the indices of pixels at equal distances, from the first to the last one."""
    return np.unique(np.rint(np.linspace(0, length - 1, intervals + 1)).astype(int))


def _areas_at(
    georeference: GeoReference,
    crs: str,
    window: Window,
    columns: np.ndarray,
    rows: np.ndarray,
    name: str,
) -> np.ndarray:
    """Return the areas of pixels of a window, float64 (rows, columns)."""
    across, down = np.meshgrid(window.col_off + columns + 0.5, window.row_off + rows + 0.5)
    centres = np.stack([across.ravel(), down.ravel()], 1)
    steps = np.array([(0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5)])
    points = _project(georeference, crs, (centres + steps[:, None]).reshape(-1, 2), name)
    right, left, lower, upper = points.reshape(4, -1, 2)
    (x1, y1), (x2, y2) = (right - left).T, (lower - upper).T
    return np.abs(x1 * y2 - x2 * y1).reshape(across.shape)


def _project(georeference: GeoReference, crs: str, pixels: np.ndarray, name: str) -> np.ndarray:
    """Return positions in pixels in another CRS, float64 (points, 2)."""
    x, dx, skew_x, y, skew_y, dy = georeference.transform or ()
    columns, rows = pixels.T
    ground = np.stack([x + columns * dx + rows * skew_x, y + columns * skew_y + rows * dy], 1)
    points = transform_points(georeference.crs, crs, ground.tolist())
    if points is None:
        raise RasterError(
            f'{name}: the ground area of its pixels is unknown, since some of them are not on the '
            f'Earth in {_describe_crs(georeference)}'
        )
    return np.array(points)


def _interpolate(
    values: np.ndarray,
    columns: np.ndarray,
    rows: np.ndarray,
    new_columns: np.ndarray,
    new_rows: np.ndarray,
) -> np.ndarray:
    """Interpolate values at the nodes of a lattice bilinearly."""
    return _weights(new_rows, rows) @ values @ _weights(new_columns, columns).T


def _weights(at: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Return the weight of each node in linear interpolation, (positions, nodes)."""
    return np.stack([np.interp(at, nodes, unit) for unit in np.eye(len(nodes))], 1)


@dataclass(frozen=True)
class ClassAreas:
    """Pixels and ground area of each class.

    Attributes:
        pixels: Number of pixels by train id, int64.
        square_metres: Area by train id, float64.
    """

    pixels: np.ndarray
    square_metres: np.ndarray

    @property
    def shares(self) -> np.ndarray:
        """Share of each class of the mapped area; NaN if nothing is mapped."""
        total = self.square_metres.sum()
        return self.square_metres / total if total else np.full(len(self.pixels), np.nan)


def count_classes(classes: np.ndarray, areas: np.ndarray, num_classes: int) -> ClassAreas:
    """Return pixels and areas of classes.

    Args:
        classes: Train ids, uint8; 255 counts for no class.
        areas: Areas of the pixels in square metres, of the same shape.
        num_classes: Number of classes.
    """
    ids = classes.ravel()
    pixels = np.bincount(ids, minlength=256)[:num_classes]
    return ClassAreas(pixels, np.bincount(ids, areas.ravel(), 256)[:num_classes])


def class_areas(
    class_map: str | os.PathLike, advance: Callable[[int, int], None] = lambda done, total: None
) -> ClassAreas:
    """Return the ground area of each class of a map, in any CRS.

    Memory does not depend on the size of the map.

    Args:
        class_map: Path of a class map of ``dnas predict`` or :func:`write_mosaic`.
        advance: Progress callback, called with the numbers of finished and of all blocks.

    Raises:
        RasterError: The map is unreadable, has no class names, or its pixels are not on the Earth.

    Example:
        >>> class_areas('country.tif').shares  # doctest: +SKIP
        array([0.12, 0.55, 0.33])
    """
    with block_cache(_CACHE), Raster(class_map) as raster:
        info = raster.info
        if not info.class_names:
            raise RasterError(f'{raster.path}: no class names; expected a map of dnas predict')
        pixels, areas = np.zeros((2, len(info.class_names)))
        blocks = block_windows(*info.shape, _BLOCK)
        for done, block in enumerate(blocks):
            classes = raster.read(block)[0]
            part = mapped_part(classes, block)
            if part is not None:
                found = count_classes(
                    classes[part.slices_in(block)],
                    ground_areas(info.georeference, part, raster.path),
                    len(pixels),
                )
                pixels += found.pixels
                areas += found.square_metres
            advance(done + 1, len(blocks))
    return ClassAreas(pixels.astype(np.int64), areas)


def mapped_part(classes: np.ndarray, window: Window) -> Window | None:
    """Return the bounding box of the pixels with a class in a window; None if there is none."""
    mapped = classes != NO_CLASS
    rows, columns = (np.flatnonzero(mapped.any(axis)) for axis in (1, 0))
    if not rows.size:
        return None
    left, top = int(columns[0]), int(rows[0])
    width, height = int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top
    return Window(window.col_off + left, window.row_off + top, width, height)
