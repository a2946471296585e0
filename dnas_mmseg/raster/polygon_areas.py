"""Areas of polygons on the ground, whatever their CRS."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

from osgeo import osr

from .areas import equal_area_crs

_STEP = 1000.0
"""Largest distance of vertices in metres. A straight edge of this length deviates from its curve in
an equal-area projection by centimetres."""

_GRID = 10
"""Distance of the centres of projections in degrees. An equal-area projection is exact anywhere but
opposite its centre; few centres serve many polygons."""


class PolygonAreas:
    """Ground areas of polygons in one CRS.

    Args:
        crs: CRS of the polygons, an ``osr.SpatialReference``; None if unknown.
    """

    def __init__(self, crs: Any) -> None:
        self._projections: dict[tuple[int, int], Any] = {}
        self._to_lonlat = None
        if crs is None:
            return
        self._crs = crs.Clone()
        self._crs.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
        unit = crs.GetAngularUnits() if crs.IsGeographic() else crs.GetLinearUnits()
        # A degree of latitude measures 111 km; one of longitude less.
        self._step = (math.radians(_STEP / 111_000) if crs.IsGeographic() else _STEP) / unit
        with suppress(RuntimeError):  # a local CRS
            self._to_lonlat = self._transformation(osr.SRS_WKT_WGS84_LAT_LONG)

    def _transformation(self, target: str) -> Any:
        crs = osr.SpatialReference()
        crs.ImportFromWkt(target)
        crs.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
        return osr.CoordinateTransformation(self._crs, crs)

    def measure(self, polygon: Any) -> float | None:
        """Return the area of a polygon in square metres; None if it is not on the Earth.

        Args:
            polygon: Polygon or multipolygon, an ``ogr.Geometry``.
        """
        if self._to_lonlat is None:
            return None
        west, east, south, north = polygon.GetEnvelope()
        ground = polygon.Clone()
        ground.Segmentize(self._step)  # straight edges become curves
        try:
            middle = self._to_lonlat.TransformPoint((west + east) / 2, (south + north) / 2)[:2]
            if not all(map(math.isfinite, middle)):
                return None
            ground.Transform(self._projection(*middle))
        except RuntimeError:
            return None
        return float(ground.GetArea())

    def _projection(self, longitude: float, latitude: float) -> Any:
        """Return the transformation to an equal-area projection whose centre is near a point."""
        centre = round(longitude / _GRID) * _GRID, round(latitude / _GRID) * _GRID
        if centre not in self._projections:
            self._projections[centre] = self._transformation(equal_area_crs(*centre))
        return self._projections[centre]
