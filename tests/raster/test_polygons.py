"""Class maps as polygons."""

import errno

import numpy as np
import pytest
from osgeo import ogr

from dnas_mmseg import files
from dnas_mmseg.raster import GeoReference, RasterError, write_polygons, write_raster

CLASSES = ('water', "farmer's land")


@pytest.fixture
def class_map(tmp_path):
    """Two areas of class 1 that touch by a corner, one of class 0, and a gap; 2 m pixels."""
    ids = np.zeros((6, 8), np.uint8)
    ids[:2, :2] = ids[2:4, 2:4] = 1
    ids[:, 6:] = 255
    place = GeoReference('LOCAL_CS["x",UNIT["m",1]]', 0.0, (10.0, 2.0, 0.0, 50.0, 0.0, -2.0))
    write_raster(tmp_path / 'map.tif', ids, nodata=255, georeference=place)
    return tmp_path / 'map.tif'


def test_connected_areas_are_polygons_of_their_size_and_place(class_map, tmp_path):
    write_polygons(class_map, tmp_path / 'p.gpkg', CLASSES)
    package = ogr.Open(str(tmp_path / 'p.gpkg'))
    found = sorted(
        (f['class_id'], f['class'], f.geometry().GetArea(), f.geometry().GetEnvelope())
        for f in package.GetLayer('classes')
    )
    assert found == [
        (0, 'water', 4 * 28, (10, 22, 38, 50)),
        (1, "farmer's land", 4 * 4, (10, 14, 46, 50)),
        (1, "farmer's land", 4 * 4, (14, 18, 42, 46)),
    ]


def test_what_fails_leaves_nothing(class_map, tmp_path, monkeypatch):
    with pytest.raises(RasterError, match=r'p\.gpkg: cannot be written'):
        write_polygons(tmp_path / 'none.tif', tmp_path / 'p.gpkg', CLASSES)

    def full(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(files, '_sync', full)
    with pytest.raises(RasterError, match=r'p\.gpkg: cannot be written .*No space left'):
        write_polygons(class_map, tmp_path / 'p.gpkg', CLASSES)
    assert [path.name for path in tmp_path.iterdir()] == ['map.tif']
