"""Grids of torchgeo's GeoDatasets."""

import pytest

from dnas_mmseg.preparation.geo_source import align_bounds, bounds_georeference

from .test_splitting import reference


@pytest.mark.parametrize(
    ('bounds', 'resolution', 'origin', 'aligned', 'shape'),
    [
        ((0, 0, 4, 2), (1, 1), None, (0, 0, 4, 2), (2, 4)),
        ((0.3, 0.3, 4.3, 2.3), (1, 1), None, (0.3, 0.3, 4.3, 2.3), (2, 4)),
        ((0.3, 0.3, 4.3, 2.3), (1, 1), (100, -7), (0, 0, 4, 2), (2, 4)),
        ((0.7, 0.7, 4.7, 2.7), (2, 0.5), (0, 0), (0, 0.5, 4, 2.5), (4, 2)),
        ((10.5, 0, 12.5, 2), (1, 1), (0, 0), (11, 0, 13, 2), (2, 2)),  # halves, all the same way
        ((11.5, 0, 13.5, 2), (1, 1), (0, 0), (12, 0, 14, 2), (2, 2)),
    ],
)
def test_bounds_on_a_grid(bounds, resolution, origin, aligned, shape):
    found, size = align_bounds(bounds, resolution, origin)
    assert found == pytest.approx(aligned)
    assert size == shape


def test_georeference_of_bounds():
    scene = reference(0, 0)
    west, _, _, north, _, _ = scene.transform
    bounds = (west + 30, north - 50, west + 70, north - 20)
    found = bounds_georeference(bounds, (1.0, 1.0), scene.crs)
    assert found == scene.moved(20, 30)
    assert bounds_georeference(bounds, (2.0, 3.0), '').transform[1::4] == (2.0, -3.0)
