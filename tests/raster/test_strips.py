"""Maps written in strips."""

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from osgeo import gdal

from dnas_mmseg.classes import ClassScheme
from dnas_mmseg.raster import GeoReference, Raster, read_raster, write_strips

PLACE = GeoReference('LOCAL_CS["x",UNIT["m",1]]', 0.0, (10.0, 2.0, 0.0, 50.0, 0.0, -2.0))


def test_strips_become_one_map_with_overviews(tmp_path, rng):
    samples = rng.integers(10, 5000, (2, 700, 600)).astype(np.uint16)
    path = tmp_path / 'm.tif'
    with write_strips(
        path, height=700, width=600, names=('a', 'b'), dtype='uint16', nodata=9,
        georeference=PLACE, resampling='AVERAGE',
    ) as write:  # fmt: skip
        for row in range(0, 700, 64):
            write(samples[:, row : row + 64], row)
        assert not path.exists()
    np.testing.assert_array_equal(read_raster(path), samples)
    with Raster(path) as raster:
        info = raster.info
    assert (info.dtype, info.names, info.nodata) == ('uint16', ('a', 'b'), (9, 9))
    assert info.georeference.transform == PLACE.transform
    dataset = gdal.Open(str(path))
    overview = dataset.GetRasterBand(1).GetOverview(0).ReadAsArray()
    expected = samples[0].reshape(350, 2, 300, 2).mean((1, 3))
    assert np.abs(overview - expected).max() <= 1
    assert [p.name for p in tmp_path.iterdir()] == ['m.tif']


READ = """
import json, sys, rasterio
with rasterio.open(sys.argv[1]) as map:
    colours = {value: map.colormap(1)[value][:3] for value in (0, 1)}
    print(json.dumps([map.tags(), colours, map.nodata, map.overviews(1)]))
"""


def test_other_programs_find_class_names_and_colours(tmp_path):
    path, classes, palette = (
        tmp_path / 'm.tif',
        ('built-up', 'Öd & "leer"'),
        ((255, 0, 0), (1, 2, 3)),
    )
    with write_strips(
        path, height=600, width=600, nodata=255, georeference=PLACE,
        classes=ClassScheme(classes, palette), resampling='MODE',
    ) as write:  # fmt: skip
        write(np.ones((1, 600, 600), np.uint8), 0)
    assert sorted(p.name for p in tmp_path.iterdir()) == ['m.tif', 'm.tif.aux.xml']
    dataset = gdal.Open(str(path))
    table = dataset.GetRasterBand(1).GetDefaultRAT()
    names = [table.GetNameOfCol(i) for i in range(table.GetColumnCount())]
    assert names == ['Value', 'Class', 'Red', 'Green', 'Blue']
    assert [table.GetValueAsString(row, 1) for row in range(2)] == list(classes)
    assert [table.GetValueAsInt(1, column) for column in (0, 2, 3, 4)] == [1, 1, 2, 3]
    if shutil.which('gdalinfo'):  # GDAL wheels have no command-line programs
        printed = subprocess.run(['gdalinfo', path], capture_output=True, text=True)
        assert '<F>built-up</F>' in printed.stdout
        assert '1: 1,2,3,255' in printed.stdout
    if find_spec('rasterio') is None:
        pytest.skip('rasterio is not installed: pip install rasterio')
    read = subprocess.run([sys.executable, '-c', READ, path], capture_output=True, text=True)
    tags, colours, nodata, overviews = json.loads(read.stdout)
    assert [tags[f'class_{i}'] for i in range(2)] == list(classes)
    assert colours == {'0': [255, 0, 0], '1': [1, 2, 3]}
    assert (nodata, overviews) == (255, [2])


@pytest.mark.parametrize('error', [KeyboardInterrupt, ValueError, OSError])
def test_caller_errors_are_passed_on_and_leave_no_files(tmp_path, error):
    with pytest.raises(error, match='in the network'):
        with write_strips(tmp_path / 'm.tif', height=8, width=8) as write:
            write(np.zeros((1, 4, 8), np.uint8), 0)
            raise error('in the network')
    assert list(tmp_path.iterdir()) == []


def test_overviews_of_several_blocks(tmp_path, rng):
    samples = np.full((2600, 2300), 255, np.uint8)
    samples[1900:2200, 1800:2200] = 3  # over the corner of four blocks
    samples[2599, 2299] = 7
    path = tmp_path / 'm.tif'
    with write_strips(path, height=2600, width=2300, nodata=255, resampling='MODE') as write:
        write(samples[None, 1000:], 1000)
    dataset = gdal.Open(str(path))
    band = dataset.GetRasterBand(1)
    np.testing.assert_array_equal(band.ReadAsArray(), samples)
    assert band.GetOverviewCount() == 3
    for level, factor in enumerate((2, 4, 8)):
        overview = band.GetOverview(level).ReadAsArray()
        assert overview.shape == (-(-2600 // factor), -(-2300 // factor))
        inner = np.s_[1904 // factor : 2200 // factor, 1800 // factor : 2200 // factor]
        assert (overview[inner] == 3).all()
        assert overview[-1, -1] == 7  # nodata does not count
        assert (overview[: 1896 // factor] == 255).all()
