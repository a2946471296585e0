"""Areas of classes in zones, compared with direct counts."""

import json
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.path import Path as Outline
from osgeo import gdal, ogr, osr

from dnas_mmseg.raster import RasterError, class_areas, read_zones, write_zones, zone_areas

from .class_maps import CLASSES, random_classes, write_map

TRANSFORM = (500000.0, 2.0, 0.0, 5400000.0, 0.0, -2.0)
HEIGHT, WIDTH = 140, 170


@pytest.fixture
def samples(rng):
    return random_classes(rng, HEIGHT, WIDTH)


@pytest.fixture
def class_map(tmp_path, samples, monkeypatch):
    """A map of several blocks."""
    monkeypatch.setattr('dnas_mmseg.raster.zones._BLOCK', 64)
    return write_map(tmp_path / 'm.tif', samples, 32632, TRANSFORM)


def ring(points):
    """Return a polygon of points in pixels as WKT in the CRS of the map."""
    text = ', '.join(f'{500000 + 2 * x} {5400000 - 2 * y}' for x, y in [*points, points[0]])
    return f'POLYGON (({text}))'


def box(left, top, right, bottom):
    return ring([(left, top), (right, top), (right, bottom), (left, bottom)])


def write(path, shapes, fields=(('code', ogr.OFTInteger), ('name', ogr.OFTString)), epsg=32632):
    """Write shapes (WKT, value of each field) to a GeoPackage."""
    crs = None
    if epsg:
        crs = osr.SpatialReference()
        crs.ImportFromEPSG(epsg)
    dataset = ogr.GetDriverByName('GPKG').CreateDataSource(str(path))
    layer = dataset.CreateLayer(path.stem, crs, ogr.wkbUnknown)
    for name, kind in fields:
        layer.CreateField(ogr.FieldDefn(name, kind))
    for wkt, *values in shapes:
        feature = ogr.Feature(layer.GetLayerDefn())
        for (name, _), value in zip(fields, values, strict=True):
            feature[name] = value
        if wkt is not None:
            feature.SetGeometry(ogr.CreateGeometryFromWkt(wkt))
        layer.CreateFeature(feature)
    del layer, dataset
    return path


def count(samples, inside):
    return [int((samples[inside] == i).sum()) for i in range(3)]


def test_pixels_belong_to_a_zone_by_their_centres(tmp_path, class_map, samples, rng):
    angles = np.sort(rng.uniform(0, 2 * np.pi, 11))
    points = np.stack([80 + 75 * np.cos(angles), 66 + 60 * np.sin(angles)], 1)
    path = write(tmp_path / 'z.gpkg', [(ring(points), 7, 'north')])
    zones = read_zones(path)
    [found] = zone_areas(zones, class_map)
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    centres = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], 1)
    inside = Outline(points).contains_points(centres).reshape(HEIGHT, WIDTH)
    assert found.pixels.tolist() == count(samples, inside)
    assert found.square_metres == pytest.approx(found.pixels * 4 / 0.9996**2, rel=1e-6)
    assert zones.zones[0].name == 'north'
    polygon = ogr.CreateGeometryFromWkt(ring(points)).GetArea() / 0.9996**2
    assert zones.zones[0].square_metres == pytest.approx(polygon, rel=1e-5)
    mapped = (samples[inside] != 255).mean()
    assert zones.zones[0].coverage(found) == pytest.approx(mapped, abs=0.005)


def test_neighbours_share_no_pixel_and_overlaps_count_for_each(tmp_path, class_map, samples):
    edges = [0, 31.3, 64.5, 100, WIDTH]  # 64.5 passes through centres
    strips = [
        (box(left, 0, right, HEIGHT), i, f'strip {i}')
        for i, (left, right) in enumerate(pairwise(edges))
    ]
    whole = (box(-50, -50, WIDTH + 50, HEIGHT + 50), 9, 'whole')
    far = (box(1000, 1000, 1100, 1100), 10, 'far')
    zones = read_zones(write(tmp_path / 'z.gpkg', [*strips, whole, whole, far]))
    steps = []
    found = zone_areas(zones, class_map, advance=lambda done, total: steps.append((done, total)))
    total = class_areas(class_map)
    assert sum(f.pixels for f in found[:4]).tolist() == total.pixels.tolist()
    assert found[4].pixels.tolist() == found[5].pixels.tolist() == total.pixels.tolist()
    assert found[4].square_metres == pytest.approx(total.square_metres)
    assert found[6].pixels.tolist() == [0, 0, 0]
    assert found[0].pixels.tolist() == count(samples[:, :31], np.s_[:])
    assert zones.zones[6].coverage(found[6]) == 0
    mapped = (samples != 255).sum() / ((WIDTH + 100) * (HEIGHT + 100))
    assert zones.zones[4].coverage(found[4]) == pytest.approx(mapped, rel=1e-4)
    assert steps[-1] == (9, 9)


@pytest.mark.parametrize('driver', ['GPKG', 'GeoJSON', 'ESRI Shapefile'])
def test_zones_in_degrees_with_a_hole(tmp_path, class_map, samples, driver):
    outer, hole = box(10, 20, 150, 120), box(40.2, 50.3, 90.4, 80.1)
    wkt = f'{outer[:-1]}, {hole.removeprefix("POLYGON (")}'
    source = write(tmp_path / 'z.gpkg', [(wkt, 1, 'a')])
    target = tmp_path / {'GPKG': 'd.gpkg', 'GeoJSON': 'd.geojson'}.get(driver, 'd.shp')
    options = gdal.VectorTranslateOptions(
        format=driver, dstSRS='EPSG:4326',
        layerCreationOptions=['COORDINATE_PRECISION=12'] if driver == 'GeoJSON' else [],
    )  # fmt: skip
    gdal.VectorTranslate(str(target), str(source), options=options)
    zones = read_zones(target)
    [found] = zone_areas(zones, class_map)
    inside = np.zeros(samples.shape, bool)
    inside[20:120, 10:150] = True
    inside[50:80, 40:90] = False
    assert found.pixels.tolist() == count(samples, inside)
    area = (100 * 140 - (90.4 - 40.2) * (80.1 - 50.3)) * 4 / 0.9996**2
    assert zones.zones[0].square_metres == pytest.approx(area, rel=1e-5)


def test_names_of_zones(tmp_path):
    path = write(tmp_path / 'z.gpkg', [(box(0, 0, 9, 9), 7, 'a'), (box(0, 0, 9, 9), 8, None)])
    assert [z.name for z in read_zones(path).zones] == ['a', '2']
    assert [z.name for z in read_zones(path, 'code').zones] == ['7', '8']
    numbers = write(tmp_path / 'n.gpkg', [(box(0, 0, 9, 9), 7)], fields=[('n', ogr.OFTInteger)])
    assert [z.name for z in read_zones(numbers).zones] == ['1']


def test_bad_zones(tmp_path, class_map):
    square = box(0, 0, 9, 9)
    good = write(tmp_path / 'good.gpkg', [(square, 1, 'a')])
    bow = ring([(0, 0), (20, 20), (20, 0), (0, 20)])
    cases = [
        (tmp_path / 'nowhere.gpkg', {}, r'nowhere\.gpkg: no such file'),
        (good, {'field': 'kind'}, r"no field 'kind'; fields: code, name"),
        (good, {'layer': 'roads'}, r"no layer 'roads'; layers: good"),
        (write(tmp_path / 'empty.gpkg', []), {}, r'layer empty has no features'),
        (write(tmp_path / 'n.gpkg', [(square, 1, 'a')], epsg=None), {}, r'has no CRS: set it'),
        (write(tmp_path / 'bow.gpkg', [(bow, 1, 'a')]), {}, r'feature 1 is invalid'),
        (
            write(tmp_path / 'p.gpkg', [('POINT (500000 5400000)', 1, 'a')]), {},
            r'feature 1 is a point, expected polygons',
        ),
    ]  # fmt: skip
    for path, options, message in cases:
        with pytest.raises(RasterError, match=message):
            read_zones(path, **options)
    two = ogr.GetDriverByName('GPKG').CreateDataSource(str(tmp_path / 'two.gpkg'))
    two.CreateLayer('states')
    two.CreateLayer('districts')
    del two
    with pytest.raises(RasterError, match='layers states, districts: choose one by --zone-layer'):
        read_zones(tmp_path / 'two.gpkg')


def test_repaired_and_empty_geometries_are_reported(tmp_path, class_map, samples):
    twice = box(0, 0, 10, 10).replace('))', ', 500000 5400000, 500000 5400000))')
    touching = ring([(0, 0), (10, 0), (10, 10), (5, 5), (5, 7), (5, 5), (0, 10)])
    zones = read_zones(
        write(tmp_path / 'z.gpkg', [(twice, 1, 'a'), (touching, 2, 'b'), (None, 3, 'c')])
    )
    assert 'invalid zones were repaired without a change of area' in zones.notes[0]
    assert zones.notes[-1].endswith(
        '1 zones have no geometry and count no pixels, such as feature 3'
    )
    found = zone_areas(zones, class_map)
    assert found[0].pixels.tolist() == count(samples[:10, :10], np.s_[:])
    assert found[2].pixels.sum() == 0
    assert zones.zones[2].coverage(found[2]) is None


def test_geopackage_of_zones(tmp_path, class_map):
    shapes = [(box(0, 0, 50, 60), 1, 'Öst'), (None, 2, 'none')]
    zones = read_zones(write(tmp_path / 'z.gpkg', shapes))
    found = zone_areas(zones, class_map)
    write_zones(tmp_path / 'out.gpkg', zones, found, CLASSES.names)
    write_zones(tmp_path / 'out.gpkg', zones, found, CLASSES.names)  # overwrites
    dataset = ogr.Open(str(tmp_path / 'out.gpkg'))
    layer = dataset.GetLayerByName('zones')
    assert layer.GetSpatialRef().GetAuthorityCode(None) == '32632'
    first, second = (feature.items() for feature in layer)
    assert first['zone'] == 'Öst'
    assert [first[f'm2_{name}'] for name in CLASSES.names] == found[0].square_metres.tolist()
    assert first['mapped_m2'] == pytest.approx(found[0].square_metres.sum())
    assert first['area_m2'] == pytest.approx(50 * 60 * 4 / 0.9996**2, rel=1e-6)
    assert first['coverage'] == pytest.approx(first['mapped_m2'] / first['area_m2'])
    assert (second['area_m2'], second['coverage']) == (None, None)
    layer.ResetReading()
    assert layer.GetNextFeature().geometry().Area() == pytest.approx(50 * 60 * 4)
    del layer, dataset
    write_zones(tmp_path / 'same.gpkg', zones, found, ('a', 'A', 'b'))
    dataset = ogr.Open(str(tmp_path / 'same.gpkg'))
    definition = dataset.GetLayer(0).GetLayerDefn()
    names = [definition.GetFieldDefn(i).GetName() for i in range(definition.GetFieldCount())]
    assert names[-3:] == ['m2_a_0', 'm2_A_1', 'm2_b']
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix not in ('.xml', '.tif')) == [
        'out.gpkg', 'same.gpkg', 'z.gpkg',
    ]  # fmt: skip


def test_features_without_ids_are_counted_apart(tmp_path, class_map, samples):
    """GDAL 3.6 numbers some GeoJSON features without ids 0, 1, 1, 1."""
    boxes = [(0, 0, 40, 140), (40, 0, 80, 140), (80, 0, 120, 140), (120, 0, 170, 140)]
    features = []
    for index, corners in enumerate(boxes):
        geometry = ogr.CreateGeometryFromWkt(box(*corners))
        features.append(
            {
                'type': 'Feature',
                'properties': {'name': f'part {index}'},
                'geometry': json.loads(geometry.ExportToJson()),
            }
        )
    crs = {'type': 'name', 'properties': {'name': 'urn:ogc:def:crs:EPSG::32632'}}
    document = {'type': 'FeatureCollection', 'crs': crs, 'features': features}
    (tmp_path / 'zones.geojson').write_text(json.dumps(document))
    zones = read_zones(tmp_path / 'zones.geojson')
    assert len({zone.fid for zone in zones.zones}) == 4
    found = zone_areas(zones, class_map)
    for (left, _, right, _), areas in zip(boxes, found, strict=True):
        part = samples[:, left:right]
        expected = [(part == value).sum() for value in range(len(CLASSES))]
        np.testing.assert_array_equal(areas.pixels, expected)
    write_zones(tmp_path / 'z.gpkg', zones, found, CLASSES.names)
    dataset = gdal.OpenEx(str(tmp_path / 'z.gpkg'))
    assert [f['zone'] for f in dataset.GetLayer(0)] == [f'part {i}' for i in range(4)]
