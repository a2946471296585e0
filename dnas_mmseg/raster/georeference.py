"""Georeference of a raster: geotransform, ground control points, or RPCs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from osgeo import ogr, osr

from ._gdal import gdal, gdal_exceptions


@dataclass(frozen=True)
class GeoReference:
    """Georeference of a raster.

    Attributes:
        crs: Coordinate reference system (CRS) of ``transform`` or ``gcps`` as WKT; empty if none.
        epoch: Coordinate epoch of a dynamic CRS, in years; 0 if none.
        transform: GDAL's affine geotransform; None if none.
        gcps: Ground control points as (column, row, x, y, z).
        rpc: Rational polynomial coefficients, as items of GDAL's ``RPC`` metadata domain.
    """

    crs: str = ''
    epoch: float = 0.0
    transform: tuple[float, ...] | None = None
    gcps: tuple[tuple[float, ...], ...] = ()
    rpc: tuple[tuple[str, str], ...] = ()

    @property
    def is_defined(self) -> bool:
        """Whether the raster has a CRS, ground control points, or RPCs."""
        return bool(self.crs or self.gcps or self.rpc)

    @classmethod
    def read(cls, dataset: gdal.Dataset) -> GeoReference:
        """Read the georeference of an open dataset."""
        crs = dataset.GetSpatialRef() or dataset.GetGCPSpatialRef()
        epoch = getattr(crs, 'GetCoordinateEpoch', float)() if crs is not None else 0.0
        return cls(
            crs=dataset.GetProjection() or dataset.GetGCPProjection() or '',
            epoch=epoch,
            transform=dataset.GetGeoTransform(can_return_null=True),
            gcps=tuple(
                (p.GCPPixel, p.GCPLine, p.GCPX, p.GCPY, p.GCPZ) for p in dataset.GetGCPs() or ()
            ),
            rpc=tuple(sorted((dataset.GetMetadata('RPC') or {}).items())),
        )

    def write(self, dataset: gdal.Dataset) -> None:
        """Write the georeference to a dataset open for writing."""
        crs = None
        if self.crs:
            crs = osr.SpatialReference()
            crs.ImportFromWkt(self.crs)
            crs.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
            if self.epoch:
                crs.SetCoordinateEpoch(self.epoch)
        if self.gcps:
            points = [gdal.GCP(x, y, z, column, row) for column, row, x, y, z in self.gcps]
            dataset.SetGCPs(points, crs)
        elif crs is not None:
            dataset.SetSpatialRef(crs)
        if self.transform is not None:
            dataset.SetGeoTransform(list(self.transform))
        if self.rpc:
            dataset.SetMetadata(dict(self.rpc), 'RPC')

    @property
    def epsg(self) -> int | None:
        """EPSG code of the CRS; None if it has none."""
        if not self.crs:
            return None
        crs = osr.SpatialReference()
        crs.ImportFromWkt(self.crs)
        code = crs.GetAuthorityCode(None)
        known = crs.GetAuthorityName(None) == 'EPSG' and code is not None
        return int(code) if known else None

    def ground_sample_distance(self, height: int, width: int) -> float | None:
        """Return the height of a pixel on the ground in metres; None without a georeference.

        It is measured on the WGS 84 ellipsoid at the centre of the raster, since the units of a
        projection such as Web Mercator differ from metres on the ground.

        Args:
            height, width: Size of the raster, in pixels.
        """
        points = self.to_lonlat((width / 2, height / 2 + down) for down in (-0.5, 0.5))
        if points is None:
            return None
        (x0, y0), (x1, y1) = points
        latitude = math.radians((y0 + y1) / 2)
        # Radii of curvature of the WGS 84 ellipsoid along the meridian and across it.
        flat = 1 - 0.00669438 * math.sin(latitude) ** 2
        along, across = 6335439.0 / flat**1.5, 6378137.0 / flat**0.5
        distance = math.hypot(
            along * math.radians(y1 - y0), across * math.cos(latitude) * math.radians(x1 - x0)
        )
        return float(f'{distance:.3g}') if distance > 0 else None

    def projected_box(self, height: int, width: int) -> tuple[float, float, float, float] | None:
        """Return the box (west, south, east, north) of a raster in its projection, in metres.

        Args:
            height, width: Size of the raster, in pixels.

        Returns:
            None without a geotransform or a projected CRS.
        """
        if self.transform is None or not self.crs:
            return None
        crs = osr.SpatialReference()
        crs.ImportFromWkt(self.crs)
        if not crs.IsProjected():
            return None
        corners = [(0, 0), (width, 0), (0, height), (width, height)]
        points = [gdal.ApplyGeoTransform(list(self.transform), *corner) for corner in corners]
        unit = crs.GetLinearUnits()
        xs, ys = zip(*points, strict=True)
        return min(xs) * unit, min(ys) * unit, max(xs) * unit, max(ys) * unit

    @property
    def wkt2(self) -> str:
        """CRS as WKT 2 (ISO 19162:2019); empty if none."""
        if not self.crs:
            return ''
        crs = osr.SpatialReference()
        crs.ImportFromWkt(self.crs)
        return crs.ExportToWkt(['FORMAT=WKT2_2019'])

    def footprint(
        self, height: int, width: int
    ) -> tuple[dict[str, Any], tuple[float, float, float, float]] | None:
        """Return the footprint of a raster as a GeoJSON geometry (RFC 7946) with its bounding box.

        Edges are densified, since a straight edge in a projection is curved in degrees. An outline
        around a pole encloses the pole.

        Args:
            height, width: Size of the raster, in pixels.

        Returns:
            Geometry in WGS 84 degrees, a MultiPolygon if the raster crosses the antimeridian; and
            (west, south, east, north), with west > east in that case. None without a geotransform,
            or if a part of the outline is not on the Earth.
        """
        points = self.outline(height, width, osr.SRS_WKT_WGS84_LAT_LONG)
        if points is None:
            return None
        ring = points[:1]
        for x, y in points[1:]:  # unwrap: neighbours are less than 180 degrees apart
            ring.append((x + 360 * round((ring[-1][0] - x) / 360), y))
        if abs(ring[-1][0] - ring[0][0]) > 180:
            pole = 90.0 if sum(y for _, y in ring) > 0 else -90.0
            ring += [(ring[-1][0], pole), (ring[0][0], pole)]
        longitudes, latitudes = zip(*ring, strict=True)
        west, east = min(longitudes), max(longitudes)
        south, north = min(latitudes), max(latitudes)
        outline = ogr.Geometry(ogr.wkbLinearRing)
        for x, y in [*ring, ring[0]]:
            outline.AddPoint_2D(x, y)
        whole = ogr.Geometry(ogr.wkbPolygon)
        whole.AddGeometry(outline)
        whole = whole.SimplifyPreserveTopology(1e-4 * max(east - west, north - south))
        parts = []
        for shift in range(-720, 721, 360):
            band = ogr.CreateGeometryFromWkt(
                f'POLYGON (({shift - 180} -90, {shift + 180} -90, {shift + 180} 90, '
                f'{shift - 180} 90, {shift - 180} -90))'
            )
            part = whole.Intersection(band)
            if part is None or part.GetArea() <= 0:
                continue
            polygons = [part.GetGeometryRef(i) for i in range(part.GetGeometryCount())]
            if part.GetGeometryType() == ogr.wkbPolygon:
                polygons = [part]
            parts += [_counterclockwise(polygon, shift) for polygon in polygons]
        if not parts:
            return None
        geometry = {'type': 'Polygon', 'coordinates': parts[0]}
        if len(parts) > 1:
            geometry = {'type': 'MultiPolygon', 'coordinates': parts}
        if east - west > 360 - 1e-6:
            west, east = -180.0, 180.0
        else:
            west = (west + 180) % 360 - 180
            east = 180 - (180 - east) % 360
        return geometry, (west, south, east, north)

    def outline(self, height: int, width: int, crs: str) -> list[tuple[float, float]] | None:
        """Return the outline of a raster in another CRS, with densified edges.

        Args:
            height, width: Size of the raster, in pixels.
            crs: CRS as WKT.

        Returns:
            Points (x, y), the first one repeated at the end; None without a geotransform or a CRS,
            or if a point cannot be transformed.
        """
        return self._transform(((x * width, y * height) for x, y in OUTLINE), crs)

    def to_lonlat(self, pixels: Iterable[tuple[float, float]]) -> list[tuple[float, float]] | None:
        """Return (longitude, latitude) in WGS 84 degrees of points of the raster.

        Args:
            pixels: Points as (column, row), in pixels from the upper left corner.

        Returns:
            Coordinates of all points; None without a geotransform or a CRS, or if a point is not on
            the Earth.
        """
        return self._transform(pixels, osr.SRS_WKT_WGS84_LAT_LONG)

    def _transform(
        self, pixels: Iterable[tuple[float, float]], crs: str
    ) -> list[tuple[float, float]] | None:
        if self.transform is None or not self.crs:
            return None
        transform = list(self.transform)
        points = [gdal.ApplyGeoTransform(transform, *pixel) for pixel in pixels]
        return transform_points(self.crs, crs, points)

    def moved(self, row: int, column: int) -> GeoReference:
        """Return the georeference of a window whose upper left pixel is ``(row, column)``."""
        transform = self.transform
        if transform is not None:
            x, dx, skew_x, y, skew_y, dy = transform
            transform = (
                x + column * dx + row * skew_x, dx, skew_x,
                y + column * skew_y + row * dy, skew_y, dy,
            )  # fmt: skip
        offsets = {'LINE_OFF': row, 'SAMP_OFF': column}
        return replace(
            self,
            transform=transform,
            gcps=tuple((c - column, r - row, *point) for c, r, *point in self.gcps),
            rpc=tuple(
                (key, repr(float(value) - offsets[key]) if key in offsets else value)
                for key, value in self.rpc
            ),
        )

    def describe_crs_difference(self, other: GeoReference) -> str:
        """Return how the CRS of another raster differs; empty if it is equal or unknown."""
        if not self.crs or not other.crs or _is_same(self.crs, other.crs):
            return ''
        return f'it is in {crs_name(other.crs)}, not in {crs_name(self.crs)}'

    def describe_misalignment(self, other: GeoReference, height: int, width: int) -> str:
        """Return how another raster of the same size is misaligned; empty if it is aligned.

        The corners are compared in this raster's CRS. A shift of half a pixel is accepted, since
        some label tools write the pixel's centre for its corner. Rasters without a geotransform
        count as aligned.

        Args:
            other: Georeference of the other raster.
            height, width: Size of both, in pixels.
        """
        if self.transform is None or other.transform is None:
            return ''
        inverse = gdal.InvGeoTransform(list(self.transform))
        if inverse is None:
            return ''
        corners = [(0, 0), (width, 0), (0, height), (width, height)]
        points = [gdal.ApplyGeoTransform(list(other.transform), *corner) for corner in corners]
        crs_note = self.describe_crs_difference(other)
        if crs_note:
            found = transform_points(other.crs, self.crs, points)
            if found is None:
                return crs_note
            points = found
        columns, rows = zip(
            *(gdal.ApplyGeoTransform(inverse, *point) for point in points), strict=True
        )
        across = [column - x for column, (x, _) in zip(columns, corners, strict=True)]
        down = [row - y for row, (_, y) in zip(rows, corners, strict=True)]
        if max(map(abs, [*across, *down])) <= 0.75:
            return ''
        if crs_note:
            return crs_note
        mine, theirs = (
            [math.hypot(t[1], t[4]), math.hypot(t[2], t[5])]
            for t in (self.transform, other.transform)
        )
        if any(abs(a - b) > 1e-3 * max(a, b) for a, b in zip(mine, theirs, strict=True)):
            return 'its pixels measure {:g} x {:g}, not {:g} x {:g}'.format(*theirs, *mine)
        if max(across) - min(across) > 0.75 or max(down) - min(down) > 0.75:
            return 'it is rotated or mirrored'
        return f'it is shifted by {down[0]:+.1f} rows and {across[0]:+.1f} columns'


def _outline(steps: int) -> list[tuple[float, float]]:
    """Return points along the edges of the unit square, the first one repeated at the end."""
    along = [i / steps for i in range(steps)]
    edges = [(0.0, s) for s in along] + [(s, 1.0) for s in along]
    edges += [(1.0, 1 - s) for s in along] + [(1 - s, 0.0) for s in along]
    return [*edges, edges[0]]


OUTLINE = _outline(32)
"""Points along the edges of the unit square: more of them follow curved edges more closely, at more
cost."""


def _is_same(first: str, second: str) -> bool:
    systems = [osr.SpatialReference(), osr.SpatialReference()]
    for crs, wkt in zip(systems, (first, second), strict=True):
        crs.ImportFromWkt(wkt)
    return bool(systems[0].IsSame(systems[1], ['IGNORE_DATA_AXIS_TO_SRS_AXIS_MAPPING=YES']))


def crs_name(wkt: str) -> str:
    """Return the EPSG code of a CRS, or its name if it has none."""
    code = GeoReference(crs=wkt).epsg
    crs = osr.SpatialReference()
    crs.ImportFromWkt(wkt)
    return f'EPSG:{code}' if code is not None else f"'{crs.GetName()}'"


def transform_points(
    source: str, target: str, points: Iterable[Sequence[float]]
) -> list[tuple[float, float]] | None:
    """Transform points to another CRS; return None if one cannot be transformed.

    Args:
        source, target: CRS as WKT.
        points: Points as (x, y), easting before northing in every CRS.
    """
    systems = [osr.SpatialReference(), osr.SpatialReference()]
    for crs, wkt in zip(systems, (source, target), strict=True):
        crs.ImportFromWkt(wkt)
        crs.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    try:
        with gdal_exceptions():
            change = osr.CoordinateTransformation(*systems)
            result = [change.TransformPoint(*point)[:2] for point in points]
    except RuntimeError:
        return None
    return result if all(math.isfinite(v) for point in result for v in point) else None


def _counterclockwise(polygon: ogr.Geometry, shift: float) -> list[list[list[float]]]:
    """Return a polygon's outer ring, counterclockwise, with longitudes minus ``shift``."""
    ring = polygon.GetGeometryRef(0)
    points = [[ring.GetX(i) - shift, ring.GetY(i)] for i in range(ring.GetPointCount())]
    area = sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise(points))
    return [points if area > 0 else points[::-1]]
