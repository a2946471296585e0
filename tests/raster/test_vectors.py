"""Polygons of vector files on the grids of rasters."""

import json

import numpy as np
import pytest
from matplotlib.path import Path as Outline
from osgeo import gdal, ogr, osr

from dnas_mmseg.raster import (
    GeoReference,
    OverlapError,
    Raster,
    RasterError,
    find_empty_features,
    list_field_values,
    rasterize_polygons,
    read_polygons,
    read_raster,
    write_polygons,
    write_raster,
)
from dnas_mmseg.raster.zones import read_zones

UTM = osr.SpatialReference()
UTM.ImportFromEPSG(32632)
TRANSFORM = (500000.0, 2.0, 0.0, 5400000.0, 0.0, -2.0)


@pytest.fixture
def grid(tmp_path):
    """Metadata of a raster of 40 x 50 pixels of 2 m."""
    path = tmp_path / 'scene.tif'
    reference = GeoReference(crs=UTM.ExportToWkt(), transform=TRANSFORM)
    write_raster(path, np.ones((1, 40, 50), np.uint8), georeference=reference)
    with Raster(path) as raster:
        return raster.info


def square(left, top, right, bottom):
    """Return a square in pixels of the grid as WKT in its CRS."""
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    return f'POLYGON (({", ".join(f"{500000 + 2 * x} {5400000 - 2 * y}" for x, y in corners)}))'


def write(path, shapes, crs=UTM, driver='GPKG', layer='fields', fields=('class', 'rank')):
    """Write shapes (WKT, class, rank) to a vector file."""
    dataset = ogr.GetDriverByName(driver).CreateDataSource(str(path))
    target = dataset.CreateLayer(layer, crs, ogr.wkbUnknown)
    target.CreateField(ogr.FieldDefn(fields[0], ogr.OFTString))
    target.CreateField(ogr.FieldDefn(fields[1], ogr.OFTInteger))
    for wkt, name, rank in shapes:
        feature = ogr.Feature(target.GetLayerDefn())
        if name is not None:
            feature[fields[0]] = name
        feature[fields[1]] = rank
        if wkt is not None:
            feature.SetGeometry(ogr.CreateGeometryFromWkt(wkt))
        target.CreateFeature(feature)
    del target, dataset
    return path


def owners(path, grid, **options):
    """Return the class index of each pixel, -1 for none."""
    polygons, _ = read_polygons(path, grid, field='class', priority=options.pop('priority', ''))
    names = sorted({p.value for p in polygons})
    ids = [names.index(p.value) for p in polygons]
    table = np.array([*ids, -1])
    options = {'overlap': 'error', **options}
    strips = rasterize_polygons(polygons, grid, classes=ids, name=str(path), **options)
    return np.concatenate([table[owner] for _, owner in strips])


def test_pixels_by_centre_agree_with_matplotlib(tmp_path, grid, rng):
    angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
    points = np.stack([25 + 18 * np.cos(angles), 20 + 15 * np.sin(angles)], 1)
    corners = ', '.join(f'{500000 + 2 * x} {5400000 - 2 * y}' for x, y in [*points, points[0]])
    path = write(tmp_path / 'a.gpkg', [(f'POLYGON (({corners}))', 'a', 0)])
    rows, columns = np.mgrid[0:40, 0:50]
    centres = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], 1)
    inside = Outline(points).contains_points(centres).reshape(40, 50)
    np.testing.assert_array_equal(owners(path, grid) == 0, inside)
    touched = owners(path, grid, all_touched=True) == 0
    assert (touched & ~inside).any()
    assert (touched >= inside).all()


@pytest.mark.parametrize('driver', ['GPKG', 'GeoJSON', 'FlatGeobuf', 'ESRI Shapefile'])
def test_formats_in_degrees_are_reprojected(tmp_path, grid, driver):
    suffix = {'GPKG': 'gpkg', 'GeoJSON': 'geojson', 'FlatGeobuf': 'fgb'}.get(driver, 'shp')
    source = write(tmp_path / 'utm.gpkg', [(square(4, 3, 20, 30), 'a', 0)])
    options = gdal.VectorTranslateOptions(
        format=driver, dstSRS='EPSG:4326',
        layerCreationOptions=['COORDINATE_PRECISION=12'] if driver == 'GeoJSON' else [],
    )  # fmt: skip
    target = tmp_path / f'degrees.{suffix}'
    gdal.VectorTranslate(str(target), str(source), options=options)
    expected = np.full((40, 50), -1)
    expected[3:30, 4:20] = 0
    np.testing.assert_array_equal(owners(target, grid), expected)


def test_overlap_rules(tmp_path, grid):
    shapes = [
        (square(0, 0, 20, 20), 'a', 5), (square(10, 10, 30, 30), 'b', 9),
        (square(15, 15, 40, 40), 'a', 7),
    ]  # fmt: skip
    path = write(tmp_path / 'a.gpkg', shapes)
    with pytest.raises(
        OverlapError,
        match=r'features 1 \(a\) and 2 \(b\) overlap in \d+ pixels, the first at row 10, column 10',
    ):
        owners(path, grid)
    last, first = (owners(path, grid, overlap=rule) for rule in ('last', 'first'))
    assert [last[12, 12], last[17, 17], last[5, 5], last[39, 45]] == [1, 0, 0, -1]
    assert [first[12, 12], first[17, 17], first[25, 25]] == [0, 0, 1]
    ranked = owners(path, grid, overlap='priority:rank', priority='rank')
    assert [ranked[12, 12], ranked[17, 17], ranked[35, 35]] == [1, 1, 0]


@pytest.mark.parametrize('name', ['a.gpkg', 'a.tab'])
def test_order_of_many_polygons_is_that_of_the_layer(tmp_path, grid, rng, name):
    corners = rng.integers(-60, 100, (1500, 2))
    classes = rng.integers(0, 3, len(corners))
    shapes = [
        (square(x, y, x + 6, y + 6), 'abc'[label], 0)
        for (x, y), label in zip(corners, classes, strict=True)
    ]
    path = write(tmp_path / 'a.gpkg', shapes)
    if name != path.name:
        path = gdal.VectorTranslate(str(tmp_path / name), str(path)).GetDescription()
    expected = np.full((40, 50), -1)
    for (x, y), label in zip(corners, classes, strict=True):
        expected[max(y, 0) : max(y + 6, 0), max(x, 0) : max(x + 6, 0)] = label
    np.testing.assert_array_equal(owners(path, grid, overlap='last'), expected)
    ranked = owners(path, grid, overlap='priority:rank', priority='rank')
    np.testing.assert_array_equal(ranked, expected)


def test_an_overlap_below_a_polygon_of_the_same_class_is_found(tmp_path, grid):
    whole = square(0, 0, 10, 10)
    path = write(tmp_path / 'a.gpkg', [(whole, 'a', 0), (whole, 'b', 0), (whole, 'a', 0)])
    with pytest.raises(OverlapError, match='overlap in 100 pixels'):
        owners(path, grid)


def test_strips_do_not_change_pixels(tmp_path, grid, monkeypatch):
    shapes = [(square(3, 2, 30, 33), 'a', 0), (square(31, 0, 50, 40), 'b', 0)]
    path = write(tmp_path / 'a.gpkg', shapes)
    whole = owners(path, grid)
    monkeypatch.setattr('dnas_mmseg.raster.vectors._STRIP_BYTES', 8 * 50 * 7)
    np.testing.assert_array_equal(owners(path, grid), whole)


def test_polygons_outside_are_left_out(tmp_path, grid):
    shapes = [
        (square(100, 100, 120, 120), 'far', 0), (square(-5, -5, 2, 2), 'corner', 0),
        (square(-9, 0, 0, 20), 'neighbour', 0), (square(5.1, 5.1, 5.2, 5.2), 'small', 0),
    ]  # fmt: skip
    polygons, _ = read_polygons(write(tmp_path / 'a.gpkg', shapes), grid, field='class')
    assert [p.value for p in polygons] == ['corner', 'small']


def test_rings_are_repaired_if_their_area_stays(tmp_path, grid):
    twice = square(0, 0, 10, 10).replace('))', ', 500000 5400000, 500000 5400000))')
    touching = (  # an outer ring that touches itself, as some programs write a hole
        'POLYGON ((500000 5400000, 500020 5400000, 500020 5399980, 500010 5399990, '
        '500010 5399985, 500010 5399990, 500000 5399980, 500000 5400000))'
    )
    path = write(tmp_path / 'a.gpkg', [(twice, 'a', 0), (touching, 'b', 0)])
    polygons, notes = read_polygons(path, grid, field='class')
    assert polygons[0].geometry.GetArea() == pytest.approx(400)
    assert all(p.geometry.IsValid() for p in polygons)
    assert any('were repaired without a change of area, such as feature' in n for n in notes)
    bow = square(0, 0, 10, 10).replace(
        '500020 5399980, 500000 5399980', '500000 5399980, 500020 5399980'
    )
    with pytest.raises(RasterError, match=r'1 is invalid \(Self-intersection at .*from 0 to 200'):
        read_polygons(write(tmp_path / 'bow.gpkg', [(bow, 'a', 0)]), grid, field='class')


def test_bad_vector_files(tmp_path, grid):
    good = write(tmp_path / 'good.gpkg', [(square(0, 0, 9, 9), 'a', 0)])
    with pytest.raises(RasterError, match=r"no field 'kind'; fields: class, rank"):
        read_polygons(good, grid, field='kind')
    with pytest.raises(RasterError, match=r"no layer 'roads'; layers: fields"):
        read_polygons(good, grid, layer='roads')
    with pytest.raises(RasterError, match=r'nowhere\.gpkg: no such file'):
        read_polygons(tmp_path / 'nowhere.gpkg', grid)
    (tmp_path / 'text.gpkg').write_text('no vectors')
    with pytest.raises(RasterError, match=r'text\.gpkg: not a vector file'):
        read_polygons(tmp_path / 'text.gpkg', grid)
    without = write(tmp_path / 'without.gpkg', [(square(0, 0, 9, 9), 'a', 0)], crs=None)
    with pytest.raises(RasterError, match=r'layer fields has no CRS: set it'):
        read_polygons(without, grid)
    line = write(tmp_path / 'line.gpkg', [('LINESTRING (500000 5400000, 500010 5399990)', 'a', 0)])
    with pytest.raises(RasterError, match=r'feature 1 is a line string, expected polygons'):
        read_polygons(line, grid)
    second = ogr.Open(str(good), 1)
    second.CreateLayer('more', UTM, ogr.wkbPolygon)
    del second
    with pytest.raises(RasterError, match=r'layers fields, more: choose one by --layer'):
        read_polygons(good, grid)
    plain = tmp_path / 'plain.tif'
    write_raster(plain, np.ones((1, 9, 9), np.uint8))
    with Raster(plain) as raster, pytest.raises(RasterError, match='cannot be located in it'):
        read_polygons(line, raster.info)


def test_features_without_geometry_are_counted(tmp_path, grid):
    document = {
        'type': 'FeatureCollection',
        'features': [
            {'type': 'Feature', 'properties': {'class': c}, 'geometry': g}
            for c, g in (('a', None), ('b', {'type': 'Polygon', 'coordinates': []}))
        ],
    }
    (tmp_path / 'a.geojson').write_text(json.dumps(document))
    assert read_polygons(tmp_path / 'a.geojson', grid, field='class') == ([], [])
    assert find_empty_features(tmp_path / 'a.geojson') == [0, 1]
    assert list_field_values(tmp_path / 'a.geojson', 'class') == {'a': 1, 'b': 1}


def test_values_of_a_field(tmp_path):
    shapes = [(square(0, 0, 1, 1), n, r) for n, r in (('a', 1), ('b', 2), ('a', 3), (None, 3))]
    path = write(tmp_path / 'a.gpkg', shapes)
    assert list_field_values(path, 'class') == {'a': 2, 'b': 1, None: 1}
    assert list_field_values(path, 'rank') == {1: 1, 2: 1, 3: 2}


def test_text_in_an_undeclared_encoding(tmp_path, monkeypatch):
    monkeypatch.delenv('SHAPE_ENCODING', raising=False)
    path = tmp_path / 'a.shp'
    source = write(tmp_path / 'a.gpkg', [(square(0, 0, 1, 1), 'Gebäude', 0)])
    options = dict(format='ESRI Shapefile', layerCreationOptions=['ENCODING=ISO-8859-1'])
    gdal.VectorTranslate(str(path), str(source), **options)
    path.with_suffix('.cpg').unlink()
    message = r"a\.shp: text of field 'class' is not UTF-8: .* ISO-8859-1, to .*a\.cpg, or set"
    with pytest.raises(RasterError, match=message):
        list_field_values(path, 'class')
    with pytest.raises(RasterError, match=message):
        read_zones(path)
    monkeypatch.setenv('SHAPE_ENCODING', 'ISO-8859-1')
    assert list_field_values(path, 'class') == {'Gebäude': 1}
    monkeypatch.delenv('SHAPE_ENCODING')
    path.with_suffix('.cpg').write_text('ISO-8859-1')
    assert list_field_values(path, 'class') == {'Gebäude': 1}


def test_labels_to_polygons_and_back(tmp_path, shared):
    names = ('built-up', 'farmland', 'forest', 'meadow', 'water')
    for tile in ('naip_13476', 'naip_13477', 'naip_13846'):
        image = shared / f'data/naip_rgbn/images/{tile}.tif'
        label = read_raster(shared / f'data/naip_rgbn/labels/{tile}.png')[0]
        ids = np.where(label == 0, 255, label - 1).astype(np.uint8)
        with Raster(image) as raster:
            info = raster.info
        write_raster(tmp_path / 'map.tif', ids, nodata=255, georeference=info.georeference)
        write_polygons(tmp_path / 'map.tif', tmp_path / f'{tile}.gpkg', names)
        degrees = tmp_path / f'{tile}.geojson'
        gdal.VectorTranslate(
            str(degrees), str(tmp_path / f'{tile}.gpkg'), dstSRS='EPSG:4326',
            layerCreationOptions=['COORDINATE_PRECISION=12'],
        )  # fmt: skip
        for path in (tmp_path / f'{tile}.gpkg', degrees):
            polygons, _ = read_polygons(path, info, field='class')
            table = np.array([*(names.index(p.value) for p in polygons), 255])
            strips = rasterize_polygons(polygons, info, classes=table[:-1].tolist())
            np.testing.assert_array_equal(np.concatenate([table[o] for _, o in strips]), ids)
