"""Georeference of a raster, in every form that files keep."""

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
    """Georeference of a raster's pixels.

    Attributes:
        crs: Coordinate reference system as WKT, of ``transform`` or of ``gcps``; empty where there
            is none.
        epoch: Coordinate epoch of a dynamic reference system, in years; 0 where there is none.
        transform: GDAL's affine geotransform, None where there is none.
        gcps: Ground control points as (column, row, x, y, z).
        rpc: Rational polynomial coefficients, as GDAL's metadata items.
    """

    crs: str = ''
    epoch: float = 0.0
    transform: tuple[float, ...] | None = None
    gcps: tuple[tuple[float, ...], ...] = ()
    rpc: tuple[tuple[str, str], ...] = ()

    @property
    def is_defined(self) -> bool:
        """Whether anything places the pixels."""
        return bool(self.crs or self.gcps or self.rpc)

    @classmethod
    def read(cls, dataset: gdal.Dataset) -> GeoReference:
        """Read the georeference of an open file."""
        system = dataset.GetSpatialRef() or dataset.GetGCPSpatialRef()
        epoch = getattr(system, 'GetCoordinateEpoch', float)() if system is not None else 0.0
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
        """Set the georeference of a file that is open for writing."""
        system = None
        if self.crs:
            system = osr.SpatialReference()
            system.ImportFromWkt(self.crs)
            system.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
            if self.epoch:
                system.SetCoordinateEpoch(self.epoch)
        if self.gcps:
            points = [gdal.GCP(x, y, z, column, row) for column, row, x, y, z in self.gcps]
            dataset.SetGCPs(points, system)
        elif system is not None:
            dataset.SetSpatialRef(system)
        if self.transform is not None:
            dataset.SetGeoTransform(list(self.transform))
        if self.rpc:
            dataset.SetMetadata(dict(self.rpc), 'RPC')

    @property
    def epsg(self) -> int | None:
        """Code of the reference system in the EPSG register; None where it has none."""
        if not self.crs:
            return None
        system = osr.SpatialReference()
        system.ImportFromWkt(self.crs)
        code = system.GetAuthorityCode(None)
        known = system.GetAuthorityName(None) == 'EPSG' and code is not None
        return int(code) if known else None

    def ground_sample_distance(self, height: int, width: int) -> float | None:
        """Return the height of a pixel on the ground, in metres; None where it is not known.

        It is measured in the middle of the raster: a pixel of Web Mercator is smaller there than
        its units say.

        Args:
            height, width: Size of the raster, in pixels.
        """
        places = self.to_lonlat((width / 2, height / 2 + down) for down in (-0.5, 0.5))
        if places is None:
            return None
        (x0, y0), (x1, y1) = places
        latitude = math.radians((y0 + y1) / 2)
        # The radii of the ellipsoid of WGS 84 along the meridian and across it.
        flat = 1 - 0.00669438 * math.sin(latitude) ** 2
        along, across = 6335439.0 / flat**1.5, 6378137.0 / flat**0.5
        distance = math.hypot(
            along * math.radians(y1 - y0), across * math.cos(latitude) * math.radians(x1 - x0)
        )
        return float(f'{distance:.3g}') if distance > 0 else None

    @property
    def wkt2(self) -> str:
        """Reference system in the current standard's form, WKT 2; empty where there is none."""
        if not self.crs:
            return ''
        system = osr.SpatialReference()
        system.ImportFromWkt(self.crs)
        return system.ExportToWkt(['FORMAT=WKT2_2019'])

    def footprint(
        self, height: int, width: int
    ) -> tuple[dict[str, Any], tuple[float, float, float, float]] | None:
        """Return the outline of a raster in degrees, as GeoJSON (RFC 7946) has it.

        Edges are followed from point to point, since a straight edge of a projection is curved in
        degrees. Where the outline goes around a pole, the pole is inside.

        Args:
            height, width: Size of the raster, in pixels.

        Returns:
            Geometry, WGS 84: a polygon, or several where the raster lies across the antimeridian;
            and west, south, east, north, where west is greater than east then. None where there is
            no geotransform, or a part of the outline is nowhere on the Earth.
        """
        steps = [i / _STEPS for i in range(_STEPS)]
        edges = [(0.0, s) for s in steps] + [(s, 1.0) for s in steps]
        edges += [(1.0, 1 - s) for s in steps] + [(1 - s, 0.0) for s in steps]
        places = self.to_lonlat((x * width, y * height) for x, y in [*edges, edges[0]])
        if places is None:
            return None
        ring = places[:1]
        for x, y in places[1:]:  # neighbours are less than half of the globe apart
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

    def to_lonlat(self, pixels: Iterable[tuple[float, float]]) -> list[tuple[float, float]] | None:
        """Return longitudes and latitudes (WGS 84); None where a place is nowhere on the Earth.

        Args:
            pixels: Places as (column, row), in pixels from the upper left corner.
        """
        if self.transform is None or not self.crs:
            return None
        transform = list(self.transform)
        places = [gdal.ApplyGeoTransform(transform, *pixel) for pixel in pixels]
        return _transform(self.crs, osr.SRS_WKT_WGS84_LAT_LONG, places)

    def moved(self, row: int, column: int) -> GeoReference:
        """Return the georeference of a part whose upper left pixel is at ``(row, column)``."""
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
            gcps=tuple((c - column, r - row, *place) for c, r, *place in self.gcps),
            rpc=tuple(
                (key, repr(float(value) - offsets[key]) if key in offsets else value)
                for key, value in self.rpc
            ),
        )

    def describe_misalignment(self, other: GeoReference, height: int, width: int) -> str:
        """Return how another raster of the same size lies apart; empty where none is known.

        The corners are compared on the ground, whatever the two reference systems. Half a pixel is
        not a difference: some label tools write the centre for the corner.

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
        places = [gdal.ApplyGeoTransform(list(other.transform), *corner) for corner in corners]
        system = ''
        if self.crs and other.crs and not _is_same(self.crs, other.crs):
            system = f'it is in {_system_name(other.crs)}, not in {_system_name(self.crs)}'
            found = _transform(other.crs, self.crs, places)
            if found is None:
                return system
            places = found
        columns, rows = zip(
            *(gdal.ApplyGeoTransform(inverse, *place) for place in places), strict=True
        )
        across = [column - x for column, (x, _) in zip(columns, corners, strict=True)]
        down = [row - y for row, (_, y) in zip(rows, corners, strict=True)]
        if max(map(abs, [*across, *down])) <= 0.75:
            return ''
        if system:
            return system
        mine, theirs = (
            [math.hypot(t[1], t[4]), math.hypot(t[2], t[5])]
            for t in (self.transform, other.transform)
        )
        if any(abs(a - b) > 1e-3 * max(a, b) for a, b in zip(mine, theirs, strict=True)):
            return 'its pixels measure {:g} x {:g}, not {:g} x {:g}'.format(*theirs, *mine)
        if max(across) - min(across) > 0.75 or max(down) - min(down) > 0.75:
            return 'it is rotated or mirrored'
        return f'it lies {down[0]:+.1f} rows and {across[0]:+.1f} columns apart'


_STEPS = 32
"""Points along each edge of an outline."""


def _is_same(first: str, second: str) -> bool:
    systems = [osr.SpatialReference(), osr.SpatialReference()]
    for system, wkt in zip(systems, (first, second), strict=True):
        system.ImportFromWkt(wkt)
    return bool(systems[0].IsSame(systems[1], ['IGNORE_DATA_AXIS_TO_SRS_AXIS_MAPPING=YES']))


def _system_name(wkt: str) -> str:
    """Return a reference system's code, or its name where it has none."""
    code = GeoReference(crs=wkt).epsg
    system = osr.SpatialReference()
    system.ImportFromWkt(wkt)
    return f'EPSG:{code}' if code is not None else f"'{system.GetName()}'"


def _transform(
    source: str, target: str, places: Iterable[Sequence[float]]
) -> list[tuple[float, float]] | None:
    """Return places in another reference system; None where one is nowhere in it.

    Args:
        source, target: Reference systems as WKT.
        places: Places as (x, y), east before north in every system.
    """
    systems = [osr.SpatialReference(), osr.SpatialReference()]
    for system, wkt in zip(systems, (source, target), strict=True):
        system.ImportFromWkt(wkt)
        system.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    try:
        with gdal_exceptions():
            change = osr.CoordinateTransformation(*systems)
            result = [change.TransformPoint(*place)[:2] for place in places]
    except RuntimeError:
        return None
    return result if all(math.isfinite(v) for place in result for v in place) else None


def _counterclockwise(polygon: ogr.Geometry, shift: float) -> list[list[list[float]]]:
    """Return the coordinates of a polygon's outer ring, longitudes moved back by ``shift``."""
    ring = polygon.GetGeometryRef(0)
    points = [[ring.GetX(i) - shift, ring.GetY(i)] for i in range(ring.GetPointCount())]
    area = sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise(points))
    return [points if area > 0 else points[::-1]]
