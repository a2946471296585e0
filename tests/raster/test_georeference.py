"""Where rasters lie."""

import numpy as np
import pytest

from dnas_mmseg.raster import GeoReference, Raster, write_raster

PLACE = GeoReference('LOCAL_CS["x",UNIT["m",1]]', 0.0, (500.0, 2.0, 0.0, 900.0, 0.0, -2.0))


def test_a_part_lies_where_its_first_pixel_did():
    assert PLACE.moved(10, 30).transform == (560.0, 2.0, 0.0, 880.0, 0.0, -2.0)
    turned = GeoReference(transform=(0.0, 3.0, 4.0, 0.0, 4.0, -3.0)).moved(1, 2)
    assert turned.transform == (10.0, 3.0, 4.0, 5.0, 4.0, -3.0)
    points = GeoReference(gcps=((5.0, 7.0, 1.0, 2.0, 3.0),), rpc=(('LINE_OFF', '100'), ('X', '1')))
    part = points.moved(10, 30)
    assert part.gcps == ((-25.0, -3.0, 1.0, 2.0, 3.0),)
    assert dict(part.rpc) == {'LINE_OFF': '90.0', 'X': '1'}


def test_moving_and_measuring_are_inverse():
    for place in (PLACE, GeoReference(transform=(7.0, 3.0, 4.0, 9.0, 4.0, -3.0))):
        assert place.offset_to(place.moved(10, -30)) == pytest.approx((10, -30))
        assert place.moved(10, -30).offset_to(place) == pytest.approx((-10, 30))
    assert PLACE.offset_to(GeoReference()) is None
    assert GeoReference(transform=(0.0,) * 6).offset_to(PLACE) is None  # it places nothing


def test_half_a_pixel_is_no_difference():
    def beside(x, size=2.0):
        return GeoReference(transform=(x, size, 0.0, 900.0, 0.0, -size))

    assert PLACE.differs_from(beside(501.0)) == ''
    assert PLACE.differs_from(GeoReference()) == ''
    assert PLACE.differs_from(beside(502.0)) == 'it lies +0.0 rows and +1.0 columns apart'
    assert PLACE.differs_from(beside(500.0, 4.0)) == 'its pixels measure 4, not 2'


def test_what_is_written_is_read(tmp_path):
    points = tuple(
        (c, r, 500 + 2 * c, 900 - 2 * r, 0.0) for c, r in ((0.0, 0.0), (4.0, 0.0), (0.0, 4.0))
    )
    for i, place in enumerate((PLACE, GeoReference(crs=PLACE.crs, gcps=points), GeoReference())):
        write_raster(tmp_path / f'{i}.tif', np.ones((1, 4, 4), np.uint8), georeference=place)
        with Raster(tmp_path / f'{i}.tif') as raster:
            read = raster.info.georeference
        assert (read.transform, read.gcps) == (place.transform, place.gcps)
        assert read.known == place.known == (i < 2)
