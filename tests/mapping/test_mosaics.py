"""Mosaics of maps with their tables of areas."""

import csv

import numpy as np
import pytest
from osgeo import gdal

from dnas_mmseg.errors import UserError
from dnas_mmseg.mapping.mosaics import Mosaic, write_mosaic_products
from dnas_mmseg.raster import RasterError, read_raster, write_raster

from ..raster.class_maps import CLASSES, random_classes, write_map
from ..raster.test_zones import box, write

PLACES = (500000.0, 2.0, 0, 5400000.0, 0, -2.0), (500100.0, 2.0, 0, 5400000.0, 0, -2.0)


@pytest.fixture
def maps(tmp_path, rng):
    samples = [random_classes(rng, 80, 90) for _ in PLACES]
    confidence = [np.full((80, 90), value, np.uint8) for value in (70, 80)]
    return [
        write_map(tmp_path / f'maps/{i}.tif', a, 32632, place, confidence=c)
        for i, (a, place, c) in enumerate(zip(samples, PLACES, confidence, strict=True))
    ]


def read_csv(path):
    with open(path, encoding='utf-8', newline='') as file:
        return list(csv.DictReader(file))


def test_a_mosaic_with_tables_of_areas(tmp_path, maps):
    districts = [(box(0, 0, 50, 80), 1, 'west'), (box(50, 0, 300, 80), 2, 'east')]
    zones = write(tmp_path / 'districts.gpkg', [*districts, (box(500, 0, 600, 80), 3, 'far')])
    mosaic = Mosaic(tmp_path / 'out/country.tif', overlap='confidence', zones=str(zones))
    mosaic.check()
    mosaic.check_maps(maps)
    steps = []
    notes = write_mosaic_products(
        mosaic, maps, lambda name: lambda done, total: steps.append((name, done, total))
    )
    samples = read_raster(mosaic.path)[0]
    np.testing.assert_array_equal(samples[:, :50], read_raster(maps[0])[0, :, :50])
    second = read_raster(maps[1])[0]
    np.testing.assert_array_equal(samples[:, 50:][second != 255], second[second != 255])
    counts = [int((samples == i).sum()) for i in range(3)]
    rows = read_csv(tmp_path / 'out/country_areas.csv')
    assert [row['class'] for row in rows] == list(CLASSES.names)
    assert [int(row['pixels']) for row in rows] == counts
    for row, count in zip(rows, counts, strict=True):
        assert float(row['area_m2']) == pytest.approx(count * 4 / 0.9996**2, rel=1e-5)
        assert float(row['share']) == pytest.approx(count / sum(counts), abs=1e-6)
    rows = read_csv(tmp_path / 'out/country_zones.csv')
    assert [(row['fid'], row['zone']) for row in rows[::3]] == [
        ('1', 'west'), ('2', 'east'), ('3', 'far'),
    ]  # fmt: skip
    found = [int(row['pixels']) for row in rows]
    assert found[:3] == [int((samples[:, :50] == i).sum()) for i in range(3)]
    assert found[3:] == [int((samples[:, 50:] == i).sum()) for i in range(3)] + [0] * 3
    assert rows[-1]['share'] == ''
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == [
        'country.tif', 'country.tif.aux.xml', 'country.vrt', 'country_areas.csv',
        'country_zones.csv', 'country_zones.gpkg',
    ]  # fmt: skip
    assert notes[-1] == f'{zones}: 1 of 3 zones have no mapped pixel, such as far'
    assert {name for name, *_ in steps} == {'mosaic', 'areas', 'zones'}


def test_a_missing_confidence_is_an_error(tmp_path, maps):
    (tmp_path / 'maps/confidence/1.tif').unlink()
    with pytest.raises(RasterError, match=r'confidence/1\.tif: no such file.*--confidence'):
        write_mosaic_products(Mosaic(tmp_path / 'country.tif', overlap='confidence'), maps)
    assert not (tmp_path / 'country.tif').exists()


def test_a_mosaic_off_the_earth_has_no_areas(tmp_path, rng):
    path = write_map(tmp_path / 'a.tif', random_classes(rng, 9, 9), 32632, PLACES[0])
    local = gdal.Open(str(path), gdal.GA_Update)
    local.SetProjection('LOCAL_CS["plan",UNIT["metre",1]]')
    del local
    notes = write_mosaic_products(Mosaic(tmp_path / 'm.tif'), [path])
    assert notes[-1].endswith('m.tif: no table of areas, since its CRS is not on the Earth')
    assert not (tmp_path / 'm_areas.csv').exists()


def test_what_a_mosaic_requires_is_checked_beforehand(tmp_path, maps):
    zones = write(tmp_path / 'm_zones.gpkg', [(box(0, 0, 9, 9), 1, 'a')])
    write_raster(tmp_path / 'scene.tif', np.ones((4, 9, 9), np.uint8))
    for mosaic, message in (
        (Mosaic(tmp_path / 'scene.tif'), r'scene\.tif exists and is not a mosaic'),
        (Mosaic(tmp_path / 'maps/new.tif'), 'the mosaic would overwrite a map'),
        (Mosaic(tmp_path / 'm.tif', crs='EPSG:1'), "CRS 'EPSG:1' is unknown"),
        (Mosaic(tmp_path / 'm.tif', zones=str(zones)), 'the areas of the zones would overwrite'),
        (Mosaic(tmp_path / 'n.tif', zones='none.gpkg'), r'none\.gpkg: no such file'),
    ):
        with pytest.raises(UserError, match=message):
            mosaic.check()
            mosaic.check_maps([*maps, tmp_path / 'maps/new.tif'])
    (tmp_path / 'o_areas.csv').write_text('mine')
    with pytest.raises(UserError, match=r'o_areas\.csv exists and does not belong to a mosaic'):
        Mosaic(tmp_path / 'o.tif').check()
    for options in (dict(overlap='last'), dict(resampling='cubic'), dict(resolution=-1.0)):
        with pytest.raises(UserError, match=str(next(iter(options.values())))[:2]):
            Mosaic(tmp_path / 'm.tif', **options)
