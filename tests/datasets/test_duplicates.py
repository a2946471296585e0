"""Duplicate and overlapping tiles."""

import os
import shutil

import numpy as np
import pytest

from dnas_mmseg.datasets import LabelEncoding, TileRegister, inspect_pairs
from dnas_mmseg.datasets.checks import Expectation
from dnas_mmseg.raster import GeoReference, write_raster

PLACE = GeoReference('LOCAL_CS["x",UNIT["m",1]]', 0.0, (500.0, 2.0, 0.0, 900.0, 0.0, -2.0))


@pytest.fixture
def tile(tmp_path, rng):
    def write(name, samples=None, place=None):
        samples = rng.integers(0, 255, (3, 16, 16)) if samples is None else samples
        path = tmp_path / f'{name}.tif'
        write_raster(path, samples.astype(np.uint8), georeference=place or GeoReference())
        return str(path)

    return write


def register(**splits):
    result, expected = TileRegister(), Expectation((), None, LabelEncoding('train_id', 2))
    for split, images in splits.items():
        for report in inspect_pairs([(i, None) for i in images], expected, statistics=True):
            result.add(split, report)
    return result


def test_duplicates_under_other_names(tile, tmp_path):
    a, b = tile('a'), tile('b')
    copy, link = str(tmp_path / 'copy.tif'), str(tmp_path / 'link.tif')
    shutil.copy(a, copy)
    os.symlink(a, link)
    found = register(train=[a, b], val=[copy], test=[link, str(tmp_path / './b.tif')])
    assert found.problems() == [
        f'1 tiles are in train and in val, e.g. {a} and {copy}',
        f'2 tiles are in train and in test, e.g. {a} and {link}',
        f'1 tiles are in val and in test, e.g. {copy} and {link}',
    ]
    assert found.warnings() == []
    twice = register(train=[a, b, copy, a])
    assert twice.problems() == []
    assert twice.warnings() == [f'2 tiles are in train more than once, e.g. {a}']


def test_constant_tiles_are_compared_by_path(tile):
    """Two tiles of sea."""
    a, b = tile('a', np.full((3, 16, 16), 7)), tile('b', np.full((3, 16, 16), 7))
    assert register(train=[a], val=[b]).problems() == []
    assert len(register(train=[a], val=[a]).problems()) == 1


def test_splits_that_overlap_on_the_ground(tile):
    inside = [tile(f'i{i}', place=PLACE.moved(0, 16 * i)) for i in range(4)]
    touching, over = tile('t', place=PLACE.moved(0, 64)), tile('o', place=PLACE.moved(8, 40))
    assert register(train=inside, test=[touching]).warnings() == []
    assert register(train=inside, test=[touching, over]).warnings() == [
        f'2 tiles of train overlap tiles of test on the ground, e.g. {inside[2]} and {over}: '
        'this inflates scores'
    ]
