"""Polygons of vector files, and their rasterization on the grid of a raster."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from osgeo import ogr, osr

from ._gdal import RasterError, gdal, gdal_exceptions
from .georeference import GeoReference
from .raster_info import RasterInfo
from .windows import Window, row_windows

OVERLAPS = ('error', 'first', 'last')
"""Rules for pixels in several polygons; a fourth one is ``priority:FIELD``."""

_STRIP_BYTES = 32 << 20
"""Memory of a strip: large enough that few polygons are rasterized in several strips."""


@dataclass(frozen=True)
class Polygon:
    """Polygon of a vector layer in the CRS of a raster.

    Attributes:
        fid: Feature id in the layer.
        value: Value of the class field; None if the field is null or not requested.
        priority: Value of the priority field; 0 if there is none.
        geometry: Polygon or multipolygon.
    """

    fid: int
    value: str | int | float | None
    priority: float
    geometry: Any


class OverlapError(RasterError):
    """Polygons of different classes overlap."""


_LEAST_PART = 1e-3
"""Area within the raster, in pixels, below which a polygon that reaches beyond it is left out: that
of a neighbour that shares an edge of the raster."""


def list_field_values(
    path: str | os.PathLike, field: str, layer: str = ''
) -> dict[str | int | float | None, int]:
    """Return the number of features of each value of a field.

    Args:
        path: Vector file of any format that GDAL reads.
        field: Name of the field.
        layer: Name of the layer; required if the file has several.

    Raises:
        RasterError: The file is unreadable, or layer or field do not exist.
    """
    counts: dict[str | int | float | None, int] = {}
    with gdal_exceptions():
        dataset, source = open_layer(path, layer)
        check_field(path, source, field)
        for feature in source:
            value = field_value(path, feature, field)
            counts[value] = counts.get(value, 0) + 1
        del source, dataset
    return counts


def find_empty_features(path: str | os.PathLike, layer: str = '') -> list[int]:
    """Return the ids of the features without geometry.

    Raises:
        RasterError: The file is unreadable, or the layer does not exist.
    """
    with gdal_exceptions():
        dataset, source = open_layer(path, layer)
        found = [
            feature.GetFID()
            for feature in source
            if feature.geometry() is None or feature.geometry().IsEmpty()
        ]
        del source, dataset
    return found


def read_polygons(
    path: str | os.PathLike,
    grid: RasterInfo,
    *,
    layer: str = '',
    field: str = '',
    priority: str = '',
) -> tuple[list[Polygon], list[str]]:
    """Read the polygons that overlap a raster, in its CRS and in the order of the layer.

    Edges are densified before they are reprojected, since a straight edge in one CRS is curved in
    another. Invalid polygons are repaired by GEOS if that preserves their area (duplicate points,
    rings that touch themselves).

    Args:
        path: Vector file of any format that GDAL reads, e.g. GeoPackage or GeoJSON.
        grid: Metadata of the raster, which must have a geotransform and a CRS.
        layer: Name of the layer; required if the file has several.
        field: Field with the classes; empty for none.
        priority: Numeric field with priorities; empty for none.

    Returns:
        Polygons; and notes on repaired polygons, one line each. Features without geometry are
        nowhere, see :func:`find_empty_features`.

    Raises:
        RasterError: The file is unreadable or has no CRS, layer or field do not exist, the raster
            has no georeference, or a feature is not a polygon, or is invalid.
    """
    name = os.fspath(path)
    if grid.georeference.transform is None or not grid.georeference.crs:
        raise RasterError(
            f'{grid.path}: no geotransform or CRS, so {name} cannot be located in it: '
            'georeference the scene (gdal_translate -a_srs -a_ullr, or gdalwarp)'
        )
    polygons: list[Polygon] = []
    repaired: list[int] = []
    with gdal_exceptions():
        dataset, source = open_layer(path, layer)
        for wanted in filter(None, (field, priority)):
            check_field(path, source, wanted)
        outline = _outline(grid)
        least = _LEAST_PART * outline.GetArea() / (grid.width * grid.height)
        frame, step, forward = _reprojection(name, source, grid, outline)
        west, east, south, north = frame.GetEnvelope()
        margin = 0.01 * max(east - west, north - south)
        source.SetSpatialFilterRect(west - margin, south - margin, east + margin, north + margin)
        for feature in source:
            fid = feature.GetFID()
            where = f'{name}: feature {fid}'
            geometry = polygonal(feature.geometry(), where)
            gdal.ErrorReset()
            if not geometry.IsValid():
                geometry = repair_polygon(geometry, where, gdal.GetLastErrorMsg())
                repaired.append(fid)
            if forward is not None:
                # Far parts may lie where the CRS of the raster is not defined, and are not needed.
                geometry = _clip(geometry, frame)
                geometry.Segmentize(step)
                try:
                    geometry.Transform(forward)
                except RuntimeError as error:
                    raise RasterError(
                        f"{where} cannot be transformed to the scene's CRS ({error})"
                    ) from None
            if not outline.Contains(geometry):
                inside = geometry.Intersection(outline)
                if inside is None or inside.GetArea() <= least:
                    continue
            rank = field_value(path, feature, priority) if priority else 0
            if not isinstance(rank, (int, float)):
                raise RasterError(f"{where} has no number in the priority field '{priority}'")
            value = field_value(path, feature, field) if field else None
            polygons.append(Polygon(fid, value, rank, geometry))
        # A spatial filter returns features of these drivers in the order of the spatial index;
        # fids of others, such as GeoJSON, may be unrelated to the order of the layer.
        if dataset.GetDriver().ShortName in ('GPKG', 'MapInfo File'):
            polygons.sort(key=lambda polygon: polygon.fid)
        del source, dataset
    if not repaired:
        return polygons, []
    return polygons, [
        f'{name}: {len(repaired)} invalid polygons were repaired without a change of area, such as '
        f'feature {repaired[0]}'
    ]


def layer_crs(name: str, layer: Any) -> Any:
    """Return the CRS of a layer, with easting before northing.

    Raises:
        RasterError: The layer has no CRS.
    """
    crs = layer.GetSpatialRef()
    # GeoPackages without a CRS have "Undefined geographic SRS" or "Undefined Cartesian SRS".
    if crs is None or crs.GetName().startswith('Undefined'):
        raise RasterError(
            f'{name}: layer {layer.GetName()} has no CRS: set it in a copy, e.g. by '
            'ogr2ogr -a_srs EPSG:...'
        )
    crs = crs.Clone()
    crs.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    return crs


def _reprojection(name: str, layer: Any, grid: RasterInfo, outline: Any) -> tuple[Any, float, Any]:
    """Return the outline of a raster in the CRS of a layer, and how to transform polygons.

    Returns:
        Outline; length of the segments of densified edges, in units of the layer's CRS; and the
        transformation from the layer's CRS to that of the raster, None if they are the same.
    """
    crs = layer_crs(name, layer)
    target = osr.SpatialReference()
    target.ImportFromWkt(grid.georeference.crs)
    target.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    if crs.IsSame(target, ['IGNORE_DATA_AXIS_TO_SRS_AXIS_MAPPING=YES']):
        return outline, 0.0, None
    frame = outline.Clone()
    try:
        frame.Transform(osr.CoordinateTransformation(target, crs))
    except RuntimeError:
        raise RasterError(
            f'{grid.path}: its outline cannot be transformed to the CRS of {name}, {crs.GetName()}'
        ) from None
    west, east, south, north = frame.GetEnvelope()
    step = math.hypot(east - west, north - south) / 256
    return frame, step, osr.CoordinateTransformation(crs, target)


def _clip(geometry: Any, frame: Any) -> Any:
    """Return the part of a polygon near a frame, in the same CRS."""
    west, east, south, north = frame.GetEnvelope()
    margin = 0.1 * max(east - west, north - south)
    west, east, south, north = west - margin, east + margin, south - margin, north + margin
    left, right, bottom, top = geometry.GetEnvelope()
    if left >= west and right <= east and bottom >= south and top <= north:
        return geometry
    ring = ogr.Geometry(ogr.wkbLinearRing)
    for corner in ((west, south), (west, north), (east, north), (east, south), (west, south)):
        ring.AddPoint_2D(*corner)
    box = ogr.Geometry(ogr.wkbPolygon)
    box.AddGeometry(ring)
    return _polygons_of(geometry.Intersection(box))


def polygonal(geometry: Any, where: str) -> Any:
    """Return a copy of a polygon with straight edges.

    Raises:
        RasterError: The geometry is of another kind.
    """
    geometry = geometry.GetLinearGeometry() if geometry.HasCurveGeometry() else geometry.Clone()
    kind = ogr.GT_Flatten(geometry.GetGeometryType())
    if kind not in (ogr.wkbPolygon, ogr.wkbMultiPolygon):
        raise RasterError(
            f'{where} is a {ogr.GeometryTypeToName(kind).lower()}, expected polygons: buffer or '
            'remove it'
        )
    return geometry


def rasterize_polygons(
    polygons: Sequence[Polygon],
    grid: RasterInfo,
    *,
    classes: Sequence[int] = (),
    all_touched: bool = False,
    overlap: str = 'last',
    name: str = '',
) -> Iterator[tuple[Window, np.ndarray]]:
    """Rasterize polygons on a grid, strip by strip.

    Args:
        polygons: Polygons in the CRS of the grid.
        grid: Metadata of the raster that defines the grid.
        classes: Class of each polygon, required by the rule ``'error'``.
        all_touched: Whether every pixel that a polygon touches belongs to it; by default, those
            whose centres lie inside.
        overlap: Rule for pixels in several polygons: ``'error'`` if their classes differ,
            ``'first'`` or ``'last'`` polygon of the layer, or ``'priority:...'`` for the polygon of
            the highest priority (the last of equal ones).
        name: Name of the vector file, for errors.

    Yields:
        Window, and the index of the polygon in each pixel, -1 for none, int32 (height, width).

    Raises:
        OverlapError: Polygons of different classes overlap, and the rule is ``'error'``.
    """
    order = list(range(len(polygons)))
    if overlap == 'first':
        order.reverse()
    elif overlap.startswith('priority:'):
        order.sort(key=lambda i: polygons[i].priority)
    groups = [order]
    if overlap == 'error':  # one class at a time: then every pixel with two classes is seen
        groups = [[i for i in order if classes[i] == label] for label in sorted(set(classes))]
    envelopes = [_row_range(polygon, grid) for polygon in polygons]
    rows = max(1, _STRIP_BYTES // (8 * grid.width))
    for window in row_windows(grid.height, grid.width, rows):
        top, bottom = window.row_off, window.row_off + window.height
        owner = np.full((window.height, window.width), -1, np.int32)
        for group in groups:
            inside = [i for i in group if envelopes[i][0] < bottom and envelopes[i][1] > top]
            if not inside:
                continue
            burnt = burn_polygons([polygons[i] for i in inside], inside, grid, window, all_touched)
            if overlap == 'error':
                _check_overlap(owner, burnt, polygons, window, name, all_touched)
            owner[burnt >= 0] = burnt[burnt >= 0]
        yield window, owner


def _check_overlap(
    owner: np.ndarray,
    burnt: np.ndarray,
    polygons: Sequence[Polygon],
    window: Window,
    name: str,
    all_touched: bool,
) -> None:
    both = (owner >= 0) & (burnt >= 0)
    if not both.any():
        return
    row, column = np.argwhere(both)[0]
    first, second = polygons[owner[row, column]], polygons[burnt[row, column]]
    pixels = int((both & (owner == owner[row, column]) & (burnt == burnt[row, column])).sum())
    raise OverlapError(
        f'{name}: features {first.fid} ({first.value}) and {second.fid} ({second.value}) overlap '
        f'in {pixels} pixels, the first at row {row + window.row_off}, column '
        f'{column + window.col_off} of the scene: correct them, or choose a rule by --overlap '
        '(first, last or priority:FIELD)'
        + ('; with --all-touched, neighbours overlap along their borders' if all_touched else '')
    )


def burn_polygons(
    polygons: Sequence[Polygon],
    numbers: Sequence[int],
    grid: RasterInfo,
    window: Window,
    all_touched: bool,
) -> np.ndarray:
    """Return the number of the last polygon in each pixel, -1 for none, int32 (height, width)."""
    with gdal_exceptions():
        target = gdal.GetDriverByName('MEM').Create(
            '', window.width, window.height, 1, gdal.GDT_Int32
        )
        moved = grid.georeference.moved(window.row_off, window.col_off)
        GeoReference(crs=moved.crs, transform=moved.transform).write(target)
        target.GetRasterBand(1).Fill(-1)
        memory = ogr.GetDriverByName('Memory').CreateDataSource('')
        layer = memory.CreateLayer('polygons', target.GetSpatialRef(), ogr.wkbUnknown)
        layer.CreateField(ogr.FieldDefn('number', ogr.OFTInteger))
        for polygon, number in zip(polygons, numbers, strict=True):
            feature = ogr.Feature(layer.GetLayerDefn())
            feature.SetField('number', number)
            feature.SetGeometry(polygon.geometry)
            layer.CreateFeature(feature)
        options = ['ATTRIBUTE=number', f'ALL_TOUCHED={"TRUE" if all_touched else "FALSE"}']
        gdal.RasterizeLayer(target, [1], layer, options=options)
        return target.ReadAsArray()


def _row_range(polygon: Polygon, grid: RasterInfo) -> tuple[float, float]:
    """Return the first and the last row of a polygon's envelope, with a margin of a pixel."""
    transform = grid.georeference.transform
    assert transform is not None  # read_polygons requires it
    inverse = gdal.InvGeoTransform(list(transform))
    west, east, south, north = polygon.geometry.GetEnvelope()
    corners = [(west, south), (west, north), (east, south), (east, north)]
    rows = [gdal.ApplyGeoTransform(inverse, *corner)[1] for corner in corners]
    return min(rows) - 1, max(rows) + 1


def _outline(grid: RasterInfo) -> Any:
    """Return the outline of a raster in its CRS, with densified edges."""
    transform = list(grid.georeference.transform or ())
    ring = ogr.Geometry(ogr.wkbLinearRing)
    corners = [(0, 0), (grid.width, 0), (grid.width, grid.height), (0, grid.height), (0, 0)]
    for corner in corners:
        ring.AddPoint_2D(*gdal.ApplyGeoTransform(transform, *corner))
    outline = ogr.Geometry(ogr.wkbPolygon)
    outline.AddGeometry(ring)
    outline.Segmentize(outline.Boundary().Length() / 64)
    return outline


def repair_polygon(geometry: Any, where: str, reason: str) -> Any:
    """Return a valid geometry of the same area.

    Args:
        geometry: Invalid polygon.
        where: File and feature, for the error.
        reason: Reason reported by GEOS.

    Raises:
        RasterError: The repaired geometry differs, as for a ring that crosses itself.
    """
    area, result = geometry.GetArea(), _polygons_of(geometry.MakeValid())
    if result.IsEmpty() or not math.isclose(area, result.GetArea(), rel_tol=1e-9):
        raise RasterError(
            f'{where} is invalid ({reason or "no reason known"}), and a repair would change its '
            f'area from {area:.6g} to {result.GetArea():.6g}. Correct it, e.g. by "Fix geometries" '
            'of QGIS'
        )
    return result


def _polygons_of(geometry: Any) -> Any:
    """Return the polygons of a geometry of any kind as a multipolygon."""
    result = ogr.Geometry(ogr.wkbMultiPolygon)
    if geometry is None:
        return result
    kind = ogr.GT_Flatten(geometry.GetGeometryType())
    if kind == ogr.wkbPolygon:
        result.AddGeometry(geometry)
    elif kind in (ogr.wkbMultiPolygon, ogr.wkbGeometryCollection):
        for i in range(geometry.GetGeometryCount()):
            part = _polygons_of(geometry.GetGeometryRef(i))
            for j in range(part.GetGeometryCount()):
                result.AddGeometry(part.GetGeometryRef(j))
    return result


def open_layer(path: str | os.PathLike, name: str, option: str = '--layer') -> tuple[Any, Any]:
    """Return an open vector file and one of its layers; close the layer before the file.

    Args:
        path: Path of the file.
        name: Name of the layer; required if the file has several.
        option: Option that sets the name, for errors.

    Raises:
        RasterError: The file is unreadable, or the layer does not exist.
    """
    text = os.fspath(path)
    if not Path(text).exists() and not text.startswith('/vsi'):
        raise RasterError(f'{text}: no such file')
    try:
        dataset = gdal.OpenEx(text, gdal.OF_VECTOR | gdal.OF_READONLY)
    except RuntimeError as error:
        raise RasterError(f'{text}: not a vector file that GDAL can open ({error})') from None
    names = [dataset.GetLayer(i).GetName() for i in range(dataset.GetLayerCount())]
    if name and name not in names:
        raise RasterError(f"{text}: no layer '{name}'; layers: {', '.join(names)}")
    if not name and len(names) != 1:
        listed = f'layers {", ".join(names)}: choose one by {option}' if names else 'no layer'
        raise RasterError(f'{text}: {listed}')
    return dataset, dataset.GetLayerByName(name or names[0])


def check_field(path: str | os.PathLike, layer: Any, field: str) -> None:
    """Raise an error if a layer does not have a field."""
    definition = layer.GetLayerDefn()
    fields = [definition.GetFieldDefn(i).GetName() for i in range(definition.GetFieldCount())]
    if field not in fields:
        raise RasterError(
            f"{os.fspath(path)}: layer {layer.GetName()} has no field '{field}'; fields: "
            f'{", ".join(fields) or "none"}'
        )


def field_value(path: str | os.PathLike, feature: Any, field: str) -> str | int | float | None:
    """Return a field's value as a number or text; None for null.

    Raises:
        RasterError: The text is not UTF-8.
    """
    if not feature.IsFieldSetAndNotNull(field):
        return None
    value = feature[field]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, (int, float)):
        return value
    text = str(value)
    # GDAL decodes other bytes to surrogates, and cannot write these.
    if not text.isascii() and any('\ud800' <= character <= '\udfff' for character in text):
        name = os.fspath(path)
        remedy = 'convert the file to GeoPackage with its encoding'
        if name.lower().endswith(('.shp', '.dbf')):
            remedy = (
                f'write its encoding, such as ISO-8859-1, to {Path(name).with_suffix(".cpg")}, or '
                'set the environment variable SHAPE_ENCODING=ISO-8859-1'
            )
        raise RasterError(f"{name}: text of field '{field}' is not UTF-8: {remedy}")
    return text
