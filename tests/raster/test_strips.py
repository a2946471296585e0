"""Maps that are written from top to bottom."""

import numpy as np
import pytest
from osgeo import gdal

from dnas_mmseg.raster import GeoReference, Raster, read_raster, write_strips

PLACE = GeoReference('LOCAL_CS["x",UNIT["m",1]]', 0.0, (10.0, 2.0, 0.0, 50.0, 0.0, -2.0))


def test_strips_make_the_whole_with_overviews(tmp_path, rng):
    samples = rng.integers(10, 5000, (2, 700, 600)).astype(np.uint16)
    path = tmp_path / 'm.tif'
    with write_strips(
        path, height=700, width=600, names=('a', 'b'), dtype='uint16', nodata=9,
        georeference=PLACE, metadata={'key': 'value'}, resampling='AVERAGE',
    ) as write:  # fmt: skip
        for row in range(0, 700, 64):
            write(row, samples[:, row : row + 64])
        assert not path.exists()
    np.testing.assert_array_equal(read_raster(path), samples)
    with Raster(path) as raster:
        info = raster.info
    assert (info.dtype, info.names, info.nodata) == ('uint16', ('a', 'b'), (9, 9))
    assert info.georeference.transform == PLACE.transform
    dataset = gdal.Open(str(path))
    assert dataset.GetMetadataItem('key') == 'value'
    overview = dataset.GetRasterBand(1).GetOverview(0).ReadAsArray()
    expected = samples[0].reshape(350, 2, 300, 2).mean((1, 3))
    assert np.abs(overview - expected).max() <= 1
    assert [p.name for p in tmp_path.iterdir()] == ['m.tif']


@pytest.mark.parametrize('error', [KeyboardInterrupt, ValueError, OSError])
def test_what_fails_between_two_strips_keeps_its_words_and_leaves_nothing(tmp_path, error):
    with pytest.raises(error, match='in the network'):
        with write_strips(tmp_path / 'm.tif', height=8, width=8) as write:
            write(0, np.zeros((1, 4, 8), np.uint8))
            raise error('in the network')
    assert list(tmp_path.iterdir()) == []
