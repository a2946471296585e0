"""Georeferences: windows, misalignment, footprints."""

from itertools import pairwise

import numpy as np
import pytest
from osgeo import osr

from dnas_mmseg.raster import GeoReference, Raster, write_raster

PLACE = GeoReference('LOCAL_CS["x",UNIT["m",1]]', 0.0, (500.0, 2.0, 0.0, 900.0, 0.0, -2.0))


def test_moved_shifts_transform_gcps_and_rpc():
    assert PLACE.moved(10, 30).transform == (560.0, 2.0, 0.0, 880.0, 0.0, -2.0)
    turned = GeoReference(transform=(0.0, 3.0, 4.0, 0.0, 4.0, -3.0)).moved(1, 2)
    assert turned.transform == (10.0, 3.0, 4.0, 5.0, 4.0, -3.0)
    points = GeoReference(gcps=((5.0, 7.0, 1.0, 2.0, 3.0),), rpc=(('LINE_OFF', '100'), ('X', '1')))
    part = points.moved(10, 30)
    assert part.gcps == ((-25.0, -3.0, 1.0, 2.0, 3.0),)
    assert dict(part.rpc) == {'LINE_OFF': '90.0', 'X': '1'}


def test_shift_of_half_a_pixel_is_aligned():
    def neighbour(x, size=2.0, height=None, skew=0.0):
        return GeoReference(transform=(x, size, skew, 900.0, skew, -(height or size)))

    assert PLACE.describe_misalignment(neighbour(501.0), 64, 64) == ''
    assert PLACE.describe_misalignment(GeoReference(), 64, 64) == ''
    assert (
        GeoReference(transform=(0.0,) * 6).describe_misalignment(PLACE, 64, 64) == ''
    )  # not invertible
    moved = PLACE.moved(10, -30)
    assert (
        PLACE.describe_misalignment(moved, 64, 64)
        == 'it is shifted by +10.0 rows and -30.0 columns'
    )
    assert PLACE.describe_misalignment(neighbour(500.0, 4.0), 64, 64) == (
        'its pixels measure 4 x 4, not 2 x 2'
    )
    # Other pixel height; then rotated.
    assert PLACE.describe_misalignment(neighbour(500.0, 2.0, 3.0), 64, 64) == (
        'its pixels measure 2 x 3, not 2 x 2'
    )
    turned = GeoReference(transform=(500.0, 0.0, 2.0, 900.0, 2.0, 0.0))
    assert PLACE.describe_misalignment(turned, 64, 64) == 'it is rotated or mirrored'


def projected(code):
    system = osr.SpatialReference()
    system.ImportFromEPSG(code)
    return system.ExportToWkt()


def test_label_in_another_crs_is_misaligned():
    """Equal corner coordinates in two CRS are different points on the ground."""
    utm = GeoReference(projected(32650), transform=(500000.0, 4.0, 0.0, 4e6, 0.0, -4.0))
    other = GeoReference(projected(32651), transform=utm.transform)
    assert utm.describe_misalignment(other, 512, 512) == 'it is in EPSG:32651, not in EPSG:32650'
    degrees = GeoReference(projected(4326), transform=utm.transform)
    assert utm.describe_misalignment(degrees, 512, 512) == 'it is in EPSG:4326, not in EPSG:32650'
    # Another name for the same CRS.
    plain = osr.SpatialReference()
    plain.ImportFromProj4('+proj=utm +zone=50 +datum=WGS84 +units=m')
    same = GeoReference(plain.ExportToWkt(), transform=utm.transform)
    assert utm.describe_misalignment(same, 512, 512) == ''


def outline(code, transform, height, width):
    return GeoReference(projected(code), transform=transform).footprint(height, width)


def test_footprints_of_large_scenes():
    wide = outline(4326, (-120.0, 1.0, 0.0, 40.0, 0.0, -1.0), 80, 240)
    assert wide[1] == pytest.approx((-120, -40, 120, 40))
    assert wide[0]['type'] == 'Polygon'
    assert area(wide[0]) == pytest.approx(240 * 80)
    half = 20037508.342789244
    world = outline(3857, (-half, half / 50, 0.0, half, 0.0, -half / 50), 100, 100)
    assert world[1] == pytest.approx((-180, -85.0511, 180, 85.0511), abs=1e-3)
    assert area(world[0]) == pytest.approx(360 * 2 * 85.0511, rel=1e-3)
    shifted = outline(4326, (0.0, 1.0, 0.0, 90.0, 0.0, -1.0), 180, 360)  # 0 to 360 degrees
    assert shifted[1] == (-180, -90, 180, 90)
    assert area(shifted[0]) == pytest.approx(360 * 180)
    # Edges of 4,000 km in a Lambert projection are arcs in degrees.
    europe = outline(3035, (2.4e6, 4e4, 0.0, 5.5e6, 0.0, -4e4), 100, 100)
    assert europe[1][3] == pytest.approx(72.66, abs=0.02)


def test_footprint_around_a_pole_encloses_it():
    north = outline(3995, (-1e6, 2e4, 0.0, 1e6, 0.0, -2e4), 100, 100)
    west, south, east, top = north[1]
    assert (west, east, top) == (-180, 180, 90)
    assert south == pytest.approx(77.3, abs=0.5)
    assert all(abs(x) <= 180 for ring in rings(north[0]) for x, _ in ring)
    assert 360 * (90 - 81.2) < area(north[0]) < 360 * (90 - south)
    south = outline(3031, (-1e6, 2e4, 0.0, 1e6, 0.0, -2e4), 100, 100)
    assert south[1][:2] == (-180, -90)


def test_no_footprint_when_partly_off_the_earth():
    system = osr.SpatialReference()
    system.ImportFromProj4('+proj=geos +h=35785831 +lon_0=0 +ellps=WGS84')
    disk = GeoReference(system.ExportToWkt(), transform=(-5.5e6, 1.1e5, 0, 5.5e6, 0, -1.1e5))
    assert disk.footprint(100, 100) is None


def rings(geometry):
    several = geometry['type'] == 'MultiPolygon'
    return [part[0] for part in (geometry['coordinates'] if several else [geometry['coordinates']])]


def area(geometry):
    return sum(
        sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise(ring)) / 2 for ring in rings(geometry)
    )


def test_georeference_round_trip(tmp_path):
    points = tuple(
        (c, r, 500 + 2 * c, 900 - 2 * r, 0.0) for c, r in ((0.0, 0.0), (4.0, 0.0), (0.0, 4.0))
    )
    for i, place in enumerate((PLACE, GeoReference(crs=PLACE.crs, gcps=points), GeoReference())):
        write_raster(tmp_path / f'{i}.tif', np.ones((1, 4, 4), np.uint8), georeference=place)
        with Raster(tmp_path / f'{i}.tif') as raster:
            read = raster.info.georeference
        assert (read.transform, read.gcps) == (place.transform, place.gcps)
        assert read.is_defined == place.is_defined == (i < 2)
