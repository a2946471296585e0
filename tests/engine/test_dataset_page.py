"""Page to look at a data set before training."""

import base64
import html
import io
import re

import numpy as np
import pytest
from PIL import Image

from dnas_mmseg.datasets.gid5 import BANDS, PALETTE
from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.engine.dataset_page import save_dataset_page
from dnas_mmseg.engine.dataset_report import check_dataset
from dnas_mmseg.raster import GeoReference, read_raster, write_raster

from ..conftest import ROOT, make_data_root
from ..raster.test_georeference import projected

CONFIG = ROOT / 'configs/dnas/dnas_l12_gid5.py'


@pytest.fixture
def root(tmp_path, rng):
    """Twelve tiles of uint8: 10 train, 2 val; one with a constant label, one half invalid."""
    root = make_data_root(tmp_path / 'data', count=12)
    lines = (root / 'train.txt').read_text().splitlines()
    (root / 'val.txt').write_text('\n'.join(lines[-2:]) + '\n')
    (root / 'train.txt').write_text('\n'.join(lines[:-2]) + '\n')
    (root / 'test.txt').write_text('images/t_10_0.tif\tlabels/t_10_0.png\n')
    write_raster(root / 'labels/t_1_0.png', np.full((64, 64), 3, np.uint8))
    image = read_raster(root / 'images/t_2_0.tif')
    image[:, :40] = 0
    write_raster(root / 'images/t_2_0.tif', image, names=BANDS, nodata=0)
    return root


def checked(root, workers=0, **options):
    config = load_config(CONFIG, data_root=root, options=options)
    return check_dataset(config, workers=workers, details=True)


def page_of(report, path):
    text = save_dataset_page(report, path).read_text()
    return html.unescape(
        re.sub(r'\s+', ' ', re.sub(r'<(style|script).*?</\1>', '', text, flags=re.S))
    )


def section(page, title):
    """Return the text of a section without tags."""
    return re.sub(
        r'<[^>]+>', ' ', re.split(f'{title}</h.>', page)[1].split('<h2')[0].split('<h3')[0]
    )


def test_statistics_are_collected_in_the_pass_of_the_check(root, monkeypatch):
    reports = {workers: checked(root, workers) for workers in (0, 2)}
    for report in reports.values():
        train = report.splits[0]
        assert [len(split.tiles) for split in report.splits] == [8, 2, 1]
        images = [read_raster(root / f'images/t_{i}_0.tif') for i in range(8)]
        valid = np.concatenate([image[:, (image != 0).any(0)] for image in images], axis=1)
        # Only one tile declares 0 as nodata.
        assert train.histogram.shape == (4, 256)
        total = 8 * 4096 - int((images[2] == 0).all(0).sum())
        assert train.histogram.sum(1).tolist() == [total] * 4
        np.testing.assert_array_equal(
            train.histogram[:, 1:], [np.bincount(band, minlength=256)[1:] for band in valid]
        )
        assert train.tiles[2].invalid == pytest.approx(40 / 64, abs=0.01)
        assert train.tiles[1].class_pixels.tolist() == [0, 0, 0, 4096, 0]
        assert train.tiles[0].label == str(root / 'labels/t_0_0.png')
    one, two = ([tile.similarity for tile in r.splits[0].tiles] for r in reports.values())
    assert one == two
    plain = check_dataset(load_config(CONFIG, data_root=root))
    assert plain.bins is None
    assert plain.splits[0].tiles == []
    assert plain.splits[0].histogram is None
    np.testing.assert_array_equal(plain.splits[0].summary.mean, train.summary.mean)


def test_the_page_has_all_sections(root, tmp_path):
    (root / 'val.txt').write_text(2 * (root / 'val.txt').read_text())
    report = checked(root, **{'model.data_preprocessor.mean': [900] * 4})
    page = page_of(report, tmp_path / 'check.html')
    assert 'Problems: 1. Correct them before training.' in page
    assert '<p class="warning">all: the normalisation in the config differs' in page
    warnings = [*report.warnings, *(text for split in report.splits for text in split.warnings)]
    assert '2 tiles are in val more than once' in warnings[0]
    assert f'Warnings: {len(warnings)}, notes: 0.' in page
    assert all(f'<td>{warning}</td>' in page for warning in warnings)
    for heading in (
        'Warnings and notes', 'Files', 'Sample tiles', 'Class shares', 'Histograms',
        'Suspicious tiles', 'Map of the splits', 'Config',
    ):  # fmt: skip
        assert f'<h2>{heading}</h2>' in page
    assert [name in page for name in BANDS] == [True] * 4
    assert report.splits[0].config_text().splitlines()[-2].strip() in page
    assert 'train 8, val 4, test 1' in page
    shares = 100 * report.splits[0].class_shares
    assert all(f'{share:.2f}' in section(page, 'Class shares') for share in shares)
    assert 'No map: the tiles have no georeference.' in section(page, 'Map of the splits')
    assert not re.search(r'(src|href)="(?!data:)', page.replace('xlink:href="#', ''))
    assert 'http' not in re.sub(r'http://www\.w3\.org/[\w/]+', '', page)


def test_suspicious_tiles(root, tmp_path):
    page = page_of(checked(root), tmp_path / 'check.html')
    constant = section(page, 'Labels of a single class, or without any')
    assert '1 of 11 tiles.' in constant
    assert 't_1_0.tif train: meadow 100 %' in re.sub(r'\s+', ' ', constant)
    invalid = section(page, 'At least 50% of the pixels invalid')
    assert '1 of 11 tiles.' in invalid
    assert 't_2_0.tif' in invalid
    assert '62.5 % invalid' in invalid


def test_similar_tiles_of_different_splits(root, tmp_path, rng):
    image = np.kron(rng.integers(30, 200, (4, 8, 8)), np.ones((8, 8)))
    for name, change in (('t_3_0', 0), ('t_9_0', 5), ('t_4_0', 3)):
        changed = (image + rng.normal(change, 1, image.shape)).clip(1, 255).astype(np.uint8)
        write_raster(root / f'images/{name}.tif', changed, names=BANDS)
    page = page_of(checked(root), tmp_path / 'check.html')
    similar = section(page, 'Similar tiles in different splits')
    assert similar.lstrip().startswith(('1 pairs', '2 pairs'))  # one if two hashes are equal
    assert re.search(r't_3_0\.tif and \S*t_9_0\.tif', similar)


def test_samples_show_image_and_label(root, tmp_path):
    text = save_dataset_page(checked(root), tmp_path / 'check.html').read_text()
    train = text.split('<h3>train</h3>')[1].split('<h3>val</h3>')[0]
    uris = re.findall(r'<img alt="(\w+)" [^>]*base64,([^"]+)"', train)
    assert [kind for kind, _ in uris] == ['image', 'label'] * 6
    colours = set()
    for kind, data in uris:
        picture = Image.open(io.BytesIO(base64.b64decode(data)))
        assert picture.size == (64, 64)
        if kind == 'label':
            colours |= {tuple(c) for c in np.array(picture.convert('RGB')).reshape(-1, 3).tolist()}
    assert colours == {*map(tuple, PALETTE), (0, 0, 0)}


def test_a_map_of_georeferenced_tiles(root, tmp_path):
    for i in range(10):
        path = root / f'images/t_{i}_0.tif'
        place = GeoReference(projected(32650), transform=(500000 + 64.0 * i, 1, 0, 4500000, 0, -1))
        write_raster(path, read_raster(path), names=BANDS, georeference=place)
    page = page_of(checked(root), tmp_path / 'check.html')
    assert 'Footprints of 10 of 11 tiles, WGS 84.' in section(page, 'Map of the splits')
    assert 'longitude, degrees' in page


def test_unreadable_tiles_and_unlabelled_splits(root, tmp_path):
    (root / 'images/t_5_0.tif').write_bytes(b'')
    write_raster(root / 'labels/t_10_0.png', np.full((64, 64), 9, np.uint8))
    report = checked(root)
    page = page_of(report, tmp_path / 'check.html')
    assert len(report.splits[0].tiles) == 7
    assert report.splits[2].tiles[0].class_pixels is not None
    assert 't_5_0.tif' in page
    assert 'label values 9' in page
    assert not report.passed


def test_sixteen_bits(tmp_path):
    root = make_data_root(tmp_path / 'wide', dtype='uint16')
    report = checked(root)
    assert report.bins.high[0] - report.bins.low[0] == 256  # samples are below 256
    assert report.splits[0].histogram.sum(1).tolist() == [4 * 4096] * 4
    assert '<h2>Histograms</h2>' in page_of(report, tmp_path / 'check.html')
