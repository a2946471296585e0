"""Georeference of a raster, in every form that files keep."""

from __future__ import annotations

import math
from collections.abc import Iterable
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
    def known(self) -> bool:
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

    def metres(self, height: int, width: int) -> float | None:
        """Return the height of a pixel on the ground, in metres; None where it is not known.

        It is measured in the middle of the raster: a pixel of Web Mercator is smaller there than
        its units say.

        Args:
            height, width: Size of the raster, in pixels.
        """
        places = self.degrees((width / 2, height / 2 + down) for down in (-0.5, 0.5))
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

        Args:
            height, width: Size of the raster, in pixels.

        Returns:
            Geometry, WGS 84: a polygon, or two where the raster lies across the antimeridian; and
            west, south, east, north, where west is greater than east then. None where there is no
            geotransform, or a corner is nowhere on the Earth.
        """
        ring = self.degrees(((0, 0), (0, height), (width, height), (width, 0)))
        if ring is None:
            return None
        # Neighbouring corners are less than half of the globe apart.
        first = ring[0][0]
        ring = [(x + 360 * round((first - x) / 360), y) for x, y in ring]
        outline = ogr.Geometry(ogr.wkbLinearRing)
        for x, y in [*ring, ring[0]]:
            outline.AddPoint_2D(x, y)
        whole = ogr.Geometry(ogr.wkbPolygon)
        whole.AddGeometry(outline)
        parts = []
        for shift in (-360, 0, 360):
            band = ogr.CreateGeometryFromWkt(
                f'POLYGON (({shift - 180} -90, {shift + 180} -90, {shift + 180} 90, '
                f'{shift - 180} 90, {shift - 180} -90))'
            )
            part = whole.Intersection(band)
            if part is not None and part.GetArea() > 0:
                parts.append(_counterclockwise(part, shift))
        if not parts:
            return None
        geometry = {'type': 'Polygon', 'coordinates': parts[0]}
        if len(parts) > 1:
            geometry = {'type': 'MultiPolygon', 'coordinates': parts}
        longitudes, latitudes = zip(*ring, strict=True)
        west, east = ((x + 180) % 360 - 180 for x in (min(longitudes), max(longitudes)))
        return geometry, (west, min(latitudes), east, max(latitudes))

    def degrees(self, pixels: Iterable[tuple[float, float]]) -> list[tuple[float, float]] | None:
        """Return longitudes and latitudes (WGS 84); None where a place is nowhere on the Earth.

        Args:
            pixels: Places as (column, row), in pixels from the upper left corner.
        """
        if self.transform is None or not self.crs:
            return None
        source, target = osr.SpatialReference(), osr.SpatialReference()
        source.ImportFromWkt(self.crs)
        target.ImportFromEPSG(4326)
        for system in (source, target):
            system.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
        try:
            with gdal_exceptions():
                change = osr.CoordinateTransformation(source, target)
                places = [
                    change.TransformPoint(*gdal.ApplyGeoTransform(list(self.transform), *pixel))[:2]
                    for pixel in pixels
                ]
        except RuntimeError:
            return None
        return places if all(math.isfinite(value) for place in places for value in place) else None

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

    def offset_to(self, other: GeoReference) -> tuple[float, float] | None:
        """Return the offset (rows, columns) of the other raster's origin, in pixels of this one.

        None where either has no geotransform, so that nothing contradicts equal places.
        """
        if self.transform is None or other.transform is None:
            return None
        inverse = gdal.InvGeoTransform(list(self.transform))
        if inverse is None:
            return None
        x, y = other.transform[0], other.transform[3]
        column = inverse[0] + inverse[1] * x + inverse[2] * y
        row = inverse[3] + inverse[4] * x + inverse[5] * y
        return row, column

    def differs_from(self, other: GeoReference) -> str:
        """Return how two rasters of one size lie apart; empty where no difference is known.

        Half a pixel is not a difference: some label tools write the centre for the corner.
        """
        offset = self.offset_to(other)
        if offset is None or self.transform is None or other.transform is None:
            return ''
        sizes = [abs(t[1]) + abs(t[2]) for t in (self.transform, other.transform)]
        if abs(sizes[0] - sizes[1]) > 1e-3 * max(sizes):
            return f'its pixels measure {sizes[1]:g}, not {sizes[0]:g}'
        if max(map(abs, offset)) > 0.75:
            return f'it lies {offset[0]:+.1f} rows and {offset[1]:+.1f} columns apart'
        return ''


def _counterclockwise(polygon: ogr.Geometry, shift: float) -> list[list[list[float]]]:
    """Return the coordinates of a polygon's outer ring, longitudes moved back by ``shift``."""
    ring = polygon.GetGeometryRef(0)
    points = [[ring.GetX(i) - shift, ring.GetY(i)] for i in range(ring.GetPointCount())]
    area = sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise(points))
    return [points if area > 0 else points[::-1]]
