"""Mosaics of class maps, compared with numpy."""

import os
import shutil

import numpy as np
import pytest
from osgeo import gdal

from dnas_mmseg.classes import ClassScheme
from dnas_mmseg.raster import (
    Raster,
    RasterError,
    check_mosaic_path,
    read_raster,
    write_mosaic,
    write_raster,
)

from .class_maps import CLASSES, random_classes, transform_pixels, wkt, write_map

UTM = 32632
GRID = (500003.0, 2.0, 0.0, 5400001.0, 0.0, -2.0)
"""A grid whose pixels are not at multiples of their size."""


def moved(row, column, transform=GRID):
    x, dx, skew_x, y, skew_y, dy = transform
    return (
        x + column * dx + row * skew_x, dx, skew_x, y + column * skew_y + row * dy, skew_y, dy,
    )  # fmt: skip


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks so small that maps lie in several of them."""
    monkeypatch.setattr('dnas_mmseg.raster.mosaic._BLOCK', 512)


def overlapping(folder, rng, size=600):
    """Write five maps of one grid that overlap; return paths, and layers on the common grid."""
    places = [(0, 0), (100, 200), (0, 300), (100, 200), (300, 100)]
    paths, layers, confidences = [], [], []
    for i, (row, column) in enumerate(places):
        samples = random_classes(rng, size, size)
        confidence = rng.integers(50, 60, samples.shape).astype(np.uint8)
        confidence[samples == 255] = 255
        path = folder / f'{i}.tif'
        write_map(path, samples, UTM, moved(row, column), confidence=confidence)
        layer, certain = np.full((2, size + 300, size + 300), 255, np.uint8)
        layer[row : row + size, column : column + size] = samples
        certain[row : row + size, column : column + size] = confidence
        paths.append(path)
        layers.append(layer)
        confidences.append(certain)
    return paths, np.stack(layers), np.stack(confidences)


def by_hand(rule, layers, confidences):
    """Return the mosaic of layers on one grid, pixel by pixel."""
    result = np.full(layers.shape[1:], 255, np.uint8)
    for row, column in np.ndindex(result.shape):
        classes = layers[:, row, column]
        found = [int(c) for c in classes if c != 255]
        if not found:
            continue
        if rule == 'first':
            result[row, column] = found[0]
        elif rule == 'confidence':
            certain = confidences[:, row, column][classes != 255].tolist()
            result[row, column] = found[certain.index(max(certain))]
        else:  # max returns the first of equal ones
            result[row, column] = max(found, key=found.count)
    return result


@pytest.mark.parametrize('rule', ['first', 'confidence', 'majority'])
def test_overlaps_on_one_grid_follow_the_rule(tmp_path, rng, rule, small_blocks):
    paths, layers, confidences = overlapping(tmp_path, rng)
    part = np.s_[:, 60:420, 80:420]  # by hand is slow
    steps = []
    notes = write_mosaic(
        paths, tmp_path / 'mosaic.tif', overlap=rule,
        confidences=[p.parent / 'confidence' / p.name for p in paths],
        advance=lambda done, total: steps.append((done, total)),
    )  # fmt: skip
    mosaic = read_raster(tmp_path / 'mosaic.tif')[0]
    assert mosaic.shape == (900, 900)
    np.testing.assert_array_equal(mosaic[part[1:]], by_hand(rule, layers[part], confidences[part]))
    np.testing.assert_array_equal(mosaic == 255, (layers == 255).all(0))
    assert steps == [(i + 1, 4) for i in range(4)]
    assert notes == [
        f'{tmp_path}/mosaic.tif: 5 maps, none resampled; 900 rows x 900 columns of 2 metres in '
        'EPSG:32632'
    ]
    with Raster(tmp_path / 'mosaic.tif') as raster:
        info = raster.info
    assert info.georeference.transform == GRID
    assert (info.class_names, info.nodata) == (CLASSES.names, (255,))
    assert info.colour_table[:3] == CLASSES.palette
    if rule == 'first':
        np.testing.assert_array_equal(read_raster(tmp_path / 'mosaic.vrt')[0], mosaic)


@pytest.mark.parametrize('target', [3035, 4326])
def test_two_utm_zones_are_reprojected_exactly(tmp_path, rng, target, small_blocks):
    samples = random_classes(rng, 350, 400), random_classes(rng, 320, 450)
    places = (32632, (718000.0, 10.0, 0, 5400000.0, 0, -10.0)), (
        32633, (272000.0, 10.0, 0, 5401000.0, 0, -10.0),
    )  # fmt: skip
    paths = [
        write_map(tmp_path / f'maps/{code}.tif', a, code, transform)
        for a, (code, transform) in zip(samples, places, strict=True)
    ]
    write_mosaic(paths, tmp_path / 'mosaic.tif', crs=f'EPSG:{target}')
    with Raster(tmp_path / 'mosaic.tif') as raster:
        mosaic, info = raster.read()[0], raster.info
    place = info.georeference
    side = place.transform[1]
    assert place.epsg == target
    assert place.transform[0] / side == pytest.approx(round(place.transform[0] / side), abs=1e-6)
    if target == 3035:
        assert side == 10.0
    expected = np.full(info.shape, 255, np.uint8)
    for each, (code, (x0, dx, _, y0, _, dy)) in zip(samples, places, strict=True):
        x, y = transform_pixels(place, info.shape, wkt(code))
        columns, rows = (np.floor(v).astype(int) for v in ((x - x0) / dx, (y - y0) / dy))
        inside = (columns >= 0) & (rows >= 0)
        inside &= (columns < each.shape[1]) & (rows < each.shape[0])
        layer = np.full(info.shape, 255, np.uint8)
        layer[inside] = each[rows[inside], columns[inside]]
        expected = np.where(expected == 255, layer, expected)
    np.testing.assert_array_equal(mosaic, expected)
    assert (mosaic != 255).sum() > 120_000
    # The VRT reprojects when it is read, wherever the folder lies.
    shutil.copytree(tmp_path, tmp_path.parent / f'{tmp_path.name}_moved')
    moved_vrt = tmp_path.parent / f'{tmp_path.name}_moved/mosaic.vrt'
    files = gdal.Open(str(moved_vrt)).GetFileList()
    assert all('_moved' in name for name in files)
    np.testing.assert_array_equal(read_raster(moved_vrt)[0], expected)


def test_narrow_parts_of_blocks_beyond_a_map_stay_empty(tmp_path, monkeypatch):
    """GDAL leaves 0 in chunks that do not reach the source."""
    path = write_map(
        tmp_path / 'a.tif', np.ones((256, 256), np.uint8), 32617,
        (269956.0, 0.6, 0, 4299516.0, 0, -0.6),
    )  # fmt: skip
    write_mosaic([path], tmp_path / 'mosaic.tif', crs='EPSG:4326')
    whole = read_raster(tmp_path / 'mosaic.tif')[0]
    assert set(np.unique(whole)) == {1, 255}
    monkeypatch.setattr('dnas_mmseg.raster.mosaic._BLOCK', whole.shape[1] - 5)
    write_mosaic([path], tmp_path / 'mosaic.tif', crs='EPSG:4326')
    np.testing.assert_array_equal(read_raster(tmp_path / 'mosaic.tif')[0], whole)


def test_mode_at_a_coarser_resolution(tmp_path, rng):
    samples = rng.integers(0, 3, (75, 90)).astype(np.uint8)
    samples[:5, 25:30] = 255
    samples[5:10, :5].flat[:24] = 255  # a single pixel has a class
    path = write_map(tmp_path / 'a.tif', samples, UTM, (500000.0, 2.0, 0, 5400000.0, 0, -2.0))
    write_mosaic([path], tmp_path / 'm.tif', resolution=10, resampling='mode')
    mosaic = read_raster(tmp_path / 'm.tif')[0]
    blocks = samples.reshape(15, 5, 18, 5).swapaxes(1, 2).reshape(15, 18, 25)
    counts = np.stack([(blocks == c).sum(2) for c in range(3)])
    ordered = np.sort(counts, 0)
    clear = ordered[2] > ordered[1]
    assert clear.sum() > 200
    np.testing.assert_array_equal(mosaic[clear], counts.argmax(0)[clear])
    assert mosaic[0, 5] == 255
    assert mosaic[1, 0] == samples[9, 4]


def test_maps_on_other_grids_are_resampled_to_multiples_of_the_resolution(tmp_path, rng):
    samples = random_classes(rng, 60, 70), random_classes(rng, 60, 70)
    a = write_map(tmp_path / 'a.tif', samples[0], UTM, (500000.0, 2.0, 0, 5400000.0, 0, -2.0))
    b = write_map(tmp_path / 'b.tif', samples[1], UTM, (500200.5, 2.0, 0, 5400000.5, 0, -2.0))
    [note] = write_mosaic([a, b], tmp_path / 'm.tif')
    assert '2 maps, 1 of them resampled (nearest)' in note
    with Raster(tmp_path / 'm.tif') as raster:
        mosaic, transform = raster.read()[0], raster.info.georeference.transform
    # b starts a quarter of a pixel to the east and to the north of the pixels of the mosaic.
    assert transform == (500000.0, 2.0, 0, 5400002.0, 0, -2.0)
    np.testing.assert_array_equal(mosaic[1:61, :70], samples[0])
    np.testing.assert_array_equal(mosaic[1:61, 100:170], samples[1])


def test_rotated_maps(tmp_path, rng):
    angle = np.radians(30)
    cos, sin = 2 * np.cos(angle), 2 * np.sin(angle)
    rotated = (500000.0, cos, sin, 5400000.0, sin, -cos)
    samples = random_classes(rng, 80, 90), random_classes(rng, 80, 90)
    a = write_map(tmp_path / 'a.tif', samples[0], UTM, rotated)
    b = write_map(tmp_path / 'b.tif', samples[1], UTM, moved(10, 50, rotated))
    write_mosaic([a, b], tmp_path / 'own.tif')  # one rotated grid: exact copies
    own = read_raster(tmp_path / 'own.tif')[0]
    assert own.shape == (90, 140)
    np.testing.assert_array_equal(own[:80, :50], samples[0][:, :50])
    np.testing.assert_array_equal(own[10:, 90:], samples[1][:, 40:])
    write_mosaic([a], tmp_path / 'up.tif', resolution=1)
    with Raster(tmp_path / 'up.tif') as raster:
        mosaic, place = raster.read()[0], raster.info.georeference
    assert place.transform[2] == 0
    x, y = transform_pixels(place, mosaic.shape, place.crs)
    inverse = gdal.InvGeoTransform(list(rotated))
    columns, rows = (
        np.floor(inverse[i] + inverse[i + 1] * x + inverse[i + 2] * y).astype(int) for i in (0, 3)
    )
    inside = (columns >= 0) & (rows >= 0) & (columns < 90) & (rows < 80)
    expected = np.full(mosaic.shape, 255, np.uint8)
    expected[inside] = samples[0][rows[inside], columns[inside]]
    np.testing.assert_array_equal(mosaic, expected)


def test_the_crs_of_most_maps_by_area_is_the_default(tmp_path, rng):
    small = [
        write_map(tmp_path / f'{i}.tif', random_classes(rng, 20, 20), 32633,
                  (270000.0 + 300 * i, 10.0, 0, 5400000.0, 0, -10.0))
        for i in range(3)
    ]  # fmt: skip
    large = write_map(
        tmp_path / 'large.tif', random_classes(rng, 80, 80), 4326,
        (11.9, 0.0001, 0, 48.7, 0, -0.0001),
    )  # fmt: skip
    write_mosaic([*small, large], tmp_path / 'm.tif')
    with Raster(tmp_path / 'm.tif') as raster:
        assert raster.info.georeference.epsg == 4326
        assert raster.info.georeference.transform[1] == pytest.approx(0.0001)


def test_an_almost_empty_mosaic_is_small(tmp_path):
    maps = [
        write_map(tmp_path / f'{i}.tif', np.full((64, 64), i, np.uint8), UTM, moved(*place))
        for i, place in enumerate([(0, 0), (6000, 7000)])
    ]
    write_mosaic(maps, tmp_path / 'm.tif')
    dataset = gdal.Open(str(tmp_path / 'm.tif'))
    mosaic = dataset.GetRasterBand(1)
    assert (mosaic.YSize, mosaic.XSize) == (6064, 7064)
    assert (tmp_path / 'm.tif').stat().st_size < 20_000
    band_at = mosaic.GetMetadataItem
    stored = [
        (i, j) for j in range(12) for i in range(14) if band_at(f'BLOCK_OFFSET_{i}_{j}', 'TIFF')
    ]
    assert stored == [(0, 0), (13, 11)]
    assert (mosaic.ReadAsArray(6990, 6000, 74, 64) == [255] * 10 + [1] * 64).all()


def test_many_maps_open_few_files(tmp_path, monkeypatch):
    paths = [
        write_map(tmp_path / f'{i}.tif', np.full((4, 4), i % 3, np.uint8), UTM, moved(0, 4 * i))
        for i in range(60)
    ]
    peak = 0

    def count(done, total):
        nonlocal peak
        peak = max(peak, len(os.listdir('/proc/self/fd')))

    if not os.path.isdir('/proc/self/fd'):
        pytest.skip('no /proc/self/fd')
    before = len(os.listdir('/proc/self/fd'))
    write_mosaic(paths, tmp_path / 'm.tif', advance=count)
    assert peak < before + 20
    mosaic = read_raster(tmp_path / 'm.tif')[0]
    np.testing.assert_array_equal(mosaic, np.tile(np.repeat(np.arange(60) % 3, 4), (4, 1)))


def test_bad_maps_are_refused_before_anything_is_written(tmp_path, rng):
    good = write_map(tmp_path / 'good.tif', random_classes(rng, 600, 600, 0), UTM, GRID)
    out = tmp_path / 'out/m.tif'
    cases = []
    no_crs = write_map(tmp_path / 'no_crs.tif', random_classes(rng, 9, 9), None, GRID)
    cases.append((no_crs, r'1 of 2 maps have no geotransform or CRS.*no_crs\.tif\. Georeference'))
    names = ClassScheme(('forest', 'lake', 'town'), CLASSES.palette)
    other = write_map(tmp_path / 'other.tif', random_classes(rng, 9, 9), UTM, GRID, names)
    cases.append((other, r'other\.tif: its classes \(forest, lake, town\) differ .*good\.tif'))
    colours = ClassScheme(CLASSES.names, ((1, 2, 3), *CLASSES.palette[1:]))
    grey = write_map(tmp_path / 'grey.tif', random_classes(rng, 9, 9), UTM, GRID, colours)
    cases.append((grey, r'grey\.tif: its colours'))
    image = tmp_path / 'image.tif'
    write_raster(image, np.ones((4, 9, 9), np.uint8))
    cases.append((image, r'image\.tif: not a class map'))
    cut = tmp_path / 'cut.tif'
    cut.write_bytes(good.read_bytes()[:-1000])
    cases.append((cut, r'cut\.tif: samples .* cannot be read; the file is truncated'))
    cases.append((tmp_path / 'nowhere.tif', r'nowhere\.tif: no such file'))
    for path, message in cases:
        with pytest.raises(RasterError, match=message):
            write_mosaic([good, path], out)
    for options, message in (
        (dict(crs='EPSG:99999999'), "CRS 'EPSG:99999999' is unknown"),
        (dict(crs='EPSG:4978'), 'neither projected nor geographic'),
        (dict(resolution=1e-5), r'resolution 1e-05: expected from 0\.125 to 1\.2e\+03 metres'),
        (dict(crs='EPSG:4326', resolution=10), 'expected from .* degrees, the units of EPSG:4326'),
        (dict(overlap='last'), "overlap 'last' is unknown: choose first, confidence, majority"),
        (dict(resampling='cubic'), "resampling 'cubic' is unknown"),
        (dict(overlap='confidence'), '0 confidences of 1 maps'),
        (
            dict(overlap='confidence', confidences=[tmp_path / 'confidence/good.tif']),
            'map the scenes with --confidence',
        ),
        (dict(overlap='confidence', confidences=[no_crs]), 'not the confidence of'),
    ):
        with pytest.raises(RasterError, match=message):
            write_mosaic([good], out, **options)
    with pytest.raises(RasterError, match='at least one map'):
        write_mosaic([], out)
    assert not out.parent.exists()


def test_an_outline_across_the_antimeridian_is_an_error(tmp_path, rng):
    path = write_map(
        tmp_path / 'fiji.tif', random_classes(rng, 50, 50), 32760,
        (800000.0, 1000.0, 0, 8100000.0, 0, -1000.0),
    )  # fmt: skip
    with pytest.raises(RasterError, match=r'fiji\.tif: its outline is not connected in EPSG:4326'):
        write_mosaic([path], tmp_path / 'm.tif', crs='EPSG:4326')
    write_mosaic([path], tmp_path / 'm.tif', crs='EPSG:3460')


def test_values_beyond_the_classes_are_an_error(tmp_path):
    path = write_map(tmp_path / 'a.tif', np.full((9, 9), 7, np.uint8), UTM, GRID)
    with pytest.raises(RasterError, match=r'a\.tif: value 7 in a map of 3 classes'):
        write_mosaic([path], tmp_path / 'm.tif')
    assert not (tmp_path / 'm.tif').exists()


def test_only_mosaics_are_overwritten(tmp_path, rng):
    path = write_map(tmp_path / 'a.tif', random_classes(rng, 9, 9), UTM, GRID)
    with pytest.raises(RasterError, match=r'a\.tif exists and is not a mosaic'):
        write_mosaic([path], path)
    (tmp_path / 'm.vrt').write_text('<VRTDataset/>')
    with pytest.raises(RasterError, match=r'm\.vrt exists and is not a mosaic'):
        write_mosaic([path], tmp_path / 'm.tif')
    (tmp_path / 'm.vrt').unlink()
    for _ in range(2):
        write_mosaic([path], tmp_path / 'm.tif')
    with pytest.raises(RasterError, match=r'the suffix of a mosaic must be \.tif'):
        check_mosaic_path(tmp_path / 'm.gpkg')
