"""Export of class maps as polygons."""

import errno
import sqlite3

import numpy as np
import pytest
from osgeo import ogr, osr

from dnas_mmseg import files
from dnas_mmseg.classes import ClassScheme
from dnas_mmseg.raster import (
    GeoReference,
    RasterError,
    are_polygons_edited,
    class_areas,
    read_polygon_settings,
    write_polygons,
    write_raster,
    write_strips,
)

CLASSES = ('water', "farmer's land")


def polygons(path):
    """Return (class_id, class, area_m2, geometry) of each polygon."""
    package = ogr.Open(str(path))
    return [
        (f['class_id'], f['class'], f['area_m2'], f.geometry().Clone())
        for f in package.GetLayer('classes')
    ]


@pytest.fixture
def class_map(tmp_path):
    """Two areas of class 1 that share a corner, one of class 0, and nodata; 2 m pixels."""
    ids = np.zeros((6, 8), np.uint8)
    ids[:2, :2] = ids[2:4, 2:4] = 1
    ids[:, 6:] = 255
    place = GeoReference('LOCAL_CS["x",UNIT["m",1]]', 0.0, (10.0, 2.0, 0.0, 50.0, 0.0, -2.0))
    palette = ((0, 0, 255), (0, 255, 0))
    with write_strips(
        tmp_path / 'map.tif', height=6, width=8, nodata=255, georeference=place,
        classes=ClassScheme(CLASSES, palette),
    ) as write:  # fmt: skip
        write(ids[None], 0)
    return tmp_path / 'map.tif'


def test_connected_areas_become_polygons(class_map, tmp_path):
    write_polygons(class_map, tmp_path / 'p.gpkg', CLASSES)
    found = sorted(
        (number, name, shape.GetArea(), shape.GetEnvelope())
        for number, name, _, shape in polygons(tmp_path / 'p.gpkg')
    )
    assert found == [
        (0, 'water', 4 * 28, (10, 22, 38, 50)),
        (1, "farmer's land", 4 * 4, (10, 14, 46, 50)),
        (1, "farmer's land", 4 * 4, (14, 18, 42, 46)),
    ]


def test_small_areas_merge_into_their_largest_neighbour(class_map, tmp_path):
    write_polygons(class_map, tmp_path / 'p.gpkg', CLASSES, min_pixels=5)
    ((_, name, ground, shape),) = polygons(tmp_path / 'p.gpkg')
    assert (name, shape.GetArea()) == ('water', 4 * 36)
    assert ground is None  # a local CRS has no area on the Earth
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ['map.tif', 'map.tif.aux.xml', 'p.gpkg']


def test_area_is_in_square_metres_in_any_crs(tmp_path):
    """0.01 degrees of longitude at 60 degrees north are half as wide as at the equator."""
    wgs84 = osr.SpatialReference()
    wgs84.ImportFromEPSG(4326)
    place = GeoReference(wgs84.ExportToWkt(), 0.0, (10.0, 0.0001, 0.0, 60.0, 0.0, -0.0001))
    write_raster(tmp_path / 'm.tif', np.zeros((100, 100), np.uint8), nodata=255, georeference=place)
    write_polygons(tmp_path / 'm.tif', tmp_path / 'p.gpkg', CLASSES)
    ((*_, ground, _shape),) = polygons(tmp_path / 'p.gpkg')
    # Lengths of a degree at 59.995 N on the ellipsoid: 111,412 m along the meridian, 55,808 m.
    assert ground == pytest.approx(1114.12 * 558.08, rel=2e-4)


def test_area_across_the_antimeridian(tmp_path):
    utm = osr.SpatialReference()
    utm.ImportFromEPSG(32660)
    place = GeoReference(utm.ExportToWkt(), 0.0, (825000.0, 100.0, 0.0, 1000000.0, 0.0, -100.0))
    assert place.footprint(100, 100)[0]['type'] == 'MultiPolygon'
    write_raster(tmp_path / 'm.tif', np.zeros((100, 100), np.uint8), nodata=255, georeference=place)
    write_polygons(tmp_path / 'm.tif', tmp_path / 'p.gpkg', CLASSES)
    ((*_, ground, _shape),) = polygons(tmp_path / 'p.gpkg')
    # The projection's scale factor is 1.0009 three degrees from its central meridian.
    assert ground == pytest.approx(1e8, rel=3e-3)


def test_no_area_off_the_earth(tmp_path):
    disk = osr.SpatialReference()
    disk.ImportFromProj4('+proj=geos +h=35785831 +lon_0=0 +datum=WGS84')
    place = GeoReference(disk.ExportToWkt(), 0.0, (-8e6, 1e5, 0.0, 8e6, 0.0, -1e5))
    assert place.footprint(160, 160) is None
    write_raster(tmp_path / 'm.tif', np.zeros((160, 160), np.uint8), nodata=255, georeference=place)
    write_polygons(tmp_path / 'm.tif', tmp_path / 'p.gpkg', CLASSES)
    ((*_, ground, _shape),) = polygons(tmp_path / 'p.gpkg')
    assert ground is None


def test_no_area_without_a_geotransform(tmp_path):
    utm = osr.SpatialReference()
    utm.ImportFromEPSG(32650)
    place = GeoReference(utm.ExportToWkt(), 0.0, None)  # a CRS without a geotransform
    write_raster(tmp_path / 'm.tif', np.zeros((10, 10), np.uint8), nodata=255, georeference=place)
    write_polygons(tmp_path / 'm.tif', tmp_path / 'p.gpkg', CLASSES)
    ((*_, ground, _shape),) = polygons(tmp_path / 'p.gpkg')
    assert ground is None


@pytest.mark.parametrize('degrees', [0.002, 0.01])
def test_areas_sum_to_those_of_the_pixels(tmp_path, rng, degrees):
    """Parallels between the corners of a polygon are curves on the ground."""
    wgs84 = osr.SpatialReference()
    wgs84.ImportFromEPSG(4326)
    place = GeoReference(wgs84.ExportToWkt(), 0.0, (5.0, degrees, 0.0, 60.0, 0.0, -degrees))
    border = 250 + rng.integers(-8, 9, 500)
    ids = (np.arange(500)[:, None] >= border).astype(np.uint8)
    with write_strips(
        tmp_path / 'm.tif', height=500, width=500, nodata=255, georeference=place,
        classes=ClassScheme(CLASSES, ((0, 0, 255), (0, 255, 0))),
    ) as write:  # fmt: skip
        write(ids[None], 0)
    write_polygons(tmp_path / 'm.tif', tmp_path / 'p.gpkg', CLASSES)
    areas = np.zeros(2)
    for number, _, ground, _ in polygons(tmp_path / 'p.gpkg'):
        areas[number] += ground
    np.testing.assert_allclose(areas, class_areas(tmp_path / 'm.tif').square_metres, rtol=1e-5)


def edit(path, change):
    """Apply a change to the layer of a file."""
    package = ogr.Open(str(path), update=1)
    layer = package.GetLayer('classes')
    change(layer)
    del layer, package


def move_corner(layer):
    feature = layer.GetNextFeature()
    geometry = feature.geometry().Clone()
    geometry.GetGeometryRef(0).SetPoint_2D(1, 11.0, 51.0)
    feature.SetGeometry(geometry)
    layer.SetFeature(feature)


@pytest.mark.parametrize(
    'change',
    [
        move_corner,
        lambda layer: layer.DeleteFeature(1),
        lambda layer: layer.CreateField(ogr.FieldDefn('remark', ogr.OFTString)),
    ],
    ids=['geometry', 'deleted', 'field'],
)
def test_edited_files_are_recognized(class_map, tmp_path, change):
    path = tmp_path / 'p.gpkg'
    write_polygons(class_map, path, CLASSES, min_pixels=2, simplify=0.5)
    edit(path, lambda layer: None)
    assert not are_polygons_edited(path)
    assert read_polygon_settings(path) == (2, 0.5)
    edit(path, change)
    assert are_polygons_edited(path)
    assert read_polygon_settings(path) == (2, 0.5)


def test_other_files_count_as_edited(tmp_path):
    path = tmp_path / 'p.gpkg'
    path.write_text('mine')
    assert are_polygons_edited(path)
    assert read_polygon_settings(path) is None
    path.unlink()
    package = ogr.GetDriverByName('GPKG').CreateDataSource(str(path))
    package.CreateLayer('fields', None, ogr.wkbPolygon)
    del package
    assert are_polygons_edited(path)
    assert read_polygon_settings(path) is None


def test_journals_of_a_replaced_file_are_removed(class_map, tmp_path):
    path = tmp_path / 'p.gpkg'
    write_polygons(class_map, path, CLASSES)
    # As QGIS: a reader in WAL mode that has the file open.
    reader = sqlite3.connect(path)
    reader.execute('pragma journal_mode=wal')
    reader.execute('create table mine (a)')
    reader.commit()
    assert (tmp_path / 'p.gpkg-wal').stat().st_size
    write_polygons(class_map, path, CLASSES)
    assert not are_polygons_edited(path)
    with sqlite3.connect(path) as other:
        assert not other.execute("select name from sqlite_master where name = 'mine'").fetchall()
    other.close()
    reader.close()


def test_simplify_reduces_corners(tmp_path):
    rows, columns = np.indices((60, 60))
    ids = (rows > columns).astype(np.uint8)  # a staircase
    write_raster(tmp_path / 'm.tif', ids, nodata=255)
    for name, simplify in (('exact', 0), ('simple', 1.5)):
        write_polygons(tmp_path / 'm.tif', tmp_path / f'{name}.gpkg', CLASSES, simplify=simplify)
    corners = {
        name: [
            shape.GetGeometryRef(0).GetPointCount()
            for *_, shape in polygons(tmp_path / f'{name}.gpkg')
        ]
        for name in ('exact', 'simple')
    }
    assert min(corners['exact']) > 100
    assert max(corners['simple']) < 12


def test_failure_leaves_no_files(class_map, tmp_path, monkeypatch):
    with pytest.raises(RasterError, match=r'p\.gpkg: cannot be written'):
        write_polygons(tmp_path / 'none.tif', tmp_path / 'p.gpkg', CLASSES)

    def full(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(files, 'sync_file', full)
    with pytest.raises(RasterError, match=r'p\.gpkg: cannot be written .*No space left'):
        write_polygons(class_map, tmp_path / 'p.gpkg', CLASSES)
    assert sorted(p.name for p in tmp_path.iterdir()) == ['map.tif', 'map.tif.aux.xml']
