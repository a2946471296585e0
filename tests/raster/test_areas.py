"""Areas of pixels and classes on the ground."""

import math

import numpy as np
import pytest

from dnas_mmseg.raster import (
    GeoReference,
    RasterError,
    Window,
    class_areas,
    ground_areas,
    write_raster,
)

from .class_maps import random_classes, transform_pixels, wkt, write_map

A, E2 = 6378137.0, 0.0066943799901413165  # WGS 84


def band_area(south, north, degrees):
    """Return the area between two parallels of WGS 84 along some degrees, in square metres."""
    e = math.sqrt(E2)

    def q(latitude):
        sine = math.sin(math.radians(latitude))
        return sine / (1 - E2 * sine**2) + math.atanh(e * sine) / e

    return A**2 * (1 - E2) / 2 * (q(north) - q(south)) * math.radians(degrees)


def test_the_whole_ellipsoid():
    place = GeoReference(crs=wkt(4326), transform=(-180.0, 1.0, 0, 90.0, 0, -1.0))
    areas = ground_areas(place, Window(0, 0, 360, 180), 'earth')
    assert areas.sum() == pytest.approx(5.10065621724e14, rel=1e-4)
    for row in (0, 1, 45, 90, 179):
        exact = band_area(89 - row, 90 - row, 1)
        np.testing.assert_allclose(areas[row], exact, rtol=1e-4 if row not in (0, 179) else 5e-3)


@pytest.mark.parametrize('latitude', [0.0, 47.5, -71.2])
@pytest.mark.parametrize('size', [1e-5, 0.001, 0.02])
def test_pixels_in_degrees(latitude, size):
    place = GeoReference(crs=wkt(4326), transform=(11.0, size, 0, latitude, 0, -size))
    areas = ground_areas(place, Window(300, 40, 700, 600), 'm.tif')
    rows = np.arange(600) + 40
    exact = [band_area(latitude - (r + 1) * size, latitude - r * size, size) for r in rows]
    np.testing.assert_allclose(areas, np.repeat(np.array(exact)[:, None], 700, 1), rtol=1e-4)


def test_scale_of_utm_and_of_web_mercator():
    place = GeoReference(crs=wkt(32632), transform=(500000.0, 10.0, 0, 5400000.0, 0, -10.0))
    areas = ground_areas(place, Window(0, 0, 5, 4), 'm.tif')
    np.testing.assert_allclose(areas, 100 / 0.9996**2, rtol=1e-7)
    place = GeoReference(crs=wkt(3857), transform=(1.2e6, 10.0, 0, 6.1e6, 0, -10.0))
    areas = ground_areas(place, Window(0, 0, 2048, 1500), 'm.tif')
    corner = transform_pixels(place, (1, 1), wkt(4326))
    upper, lower = (
        transform_pixels(
            GeoReference(crs=place.crs, transform=(1.2e6, 1.0, 0, y + 0.5, 0, -1.0)),
            (1, 1), wkt(4326),
        )[1, 0, 0]
        for y in (6.1e6, 6.1e6 - 10)
    )  # fmt: skip
    exact = band_area(lower, upper, math.degrees(10 / A))
    assert corner[1, 0, 0] == pytest.approx((upper + lower) / 2)
    assert areas[0, 0] == pytest.approx(exact, rel=1e-4)
    assert areas[0, 0] < 46  # not 100


def test_equal_area_crs_and_rotated_pixels():
    angle = math.radians(25)
    cos, sin = 30 * math.cos(angle), 30 * math.sin(angle)
    place = GeoReference(crs=wkt(3035), transform=(4.3e6, cos, sin, 2.9e6, sin, -cos))
    areas = ground_areas(place, Window(0, 0, 300, 200), 'm.tif')
    np.testing.assert_allclose(areas, 900, rtol=1e-6)


def test_classes_are_weighted_by_their_pixels(tmp_path, rng, monkeypatch):
    monkeypatch.setattr('dnas_mmseg.raster.areas._BLOCK', 64)
    samples = random_classes(rng, 150, 200)
    samples[:, 64:128] = 255  # empty blocks
    size = 0.1
    path = write_map(tmp_path / 'm.tif', samples, 4326, (0.0, size, 0, 70.0, 0, -size))
    steps = []
    found = class_areas(path, advance=lambda done, total: steps.append((done, total)))
    rows = [band_area(70 - (r + 1) * size, 70 - r * size, size) for r in range(150)]
    weights = np.repeat(np.array(rows)[:, None], 200, 1)
    for train_id in range(3):
        assert found.pixels[train_id] == (samples == train_id).sum()
        exact = weights[samples == train_id].sum()
        assert found.square_metres[train_id] == pytest.approx(exact, rel=1e-4)
    assert found.shares.sum() == pytest.approx(1)
    assert steps[-1] == (12, 12)


def test_an_empty_map_has_no_shares(tmp_path):
    path = write_map(
        tmp_path / 'm.tif', np.full((9, 9), 255, np.uint8), 4326, (0.0, 1.0, 0, 9.0, 0, -1.0)
    )
    found = class_areas(path)
    assert found.pixels.tolist() == [0, 0, 0]
    assert np.isnan(found.shares).all()


def test_areas_require_a_place_on_the_earth(tmp_path, rng):
    path = write_map(tmp_path / 'a.tif', random_classes(rng, 9, 9), None, (0.0, 1, 0, 0, 0, -1))
    with pytest.raises(RasterError, match=r'a\.tif: the ground area .* is unknown.*in no CRS'):
        class_areas(path)
    beyond = write_map(
        tmp_path / 'b.tif', np.zeros((9, 9), np.uint8), 4326, (0.0, 1.0, 0, 95.0, 0, -1.0)
    )
    with pytest.raises(RasterError, match=r'b\.tif: .* not on the Earth in EPSG:4326'):
        class_areas(beyond)
    write_raster(tmp_path / 'c.tif', np.zeros((1, 9, 9), np.uint8))
    with pytest.raises(RasterError, match=r'c\.tif: no class names'):
        class_areas(tmp_path / 'c.tif')
