"""Choice of the tiles to look at."""

import numpy as np
import pytest

from dnas_mmseg.datasets import LabelEncoding
from dnas_mmseg.datasets.checks import Expectation
from dnas_mmseg.engine.dataset_report import TileRecord
from dnas_mmseg.engine.tile_choice import choose_tiles, constant_label_tiles, invalid_tiles

EXPECTED = Expectation((), None, LabelEncoding('train_id', 4))


def record(name, class_pixels, pixels=100, invalid=0.0):
    counts = None if class_pixels is None else np.array(class_pixels)
    return TileRecord('train', name, None, EXPECTED, invalid, pixels, counts, None, '', ())


def names(tiles):
    return [tile.image for tile in tiles]


@pytest.mark.parametrize('seed', range(5))
def test_chosen_tiles_show_all_classes(seed):
    common = [record(f'common_{i}', [60, 40, 0, 0]) for i in range(50)]
    rare = [record('rare', [50, 0, 50, 0]), record('rarest', [99, 0, 0, 1])]
    chosen = choose_tiles([*common, *rare], 4, seed)
    assert len(set(names(chosen))) == 4
    assert {'rare', 'rarest'} <= set(names(chosen))
    assert names(chosen) == names(choose_tiles([*common, *rare], 4, seed))
    assert np.sum([tile.class_pixels for tile in chosen], axis=0).all()


def test_seeds_choose_other_tiles():
    tiles = [record(f'{i}', [50, 50, 0, 0]) for i in range(50)]
    assert names(choose_tiles(tiles, 4, 0)) != names(choose_tiles(tiles, 4, 1))


def test_the_most_varied_tile_is_first_and_visible_classes_count():
    few = record('one pixel', [9997, 1, 1, 1], 10000)
    visible = record('visible', [9000, 500, 500, 0], 10000)
    assert names(choose_tiles([few, visible], 2)) == ['visible', 'one pixel']
    assert names(choose_tiles([few], 3)) == ['one pixel']


def test_the_number_grows_with_the_classes():
    tiles = [record(str(i), np.eye(4, dtype=int)[i] * 100) for i in range(4)]
    assert sorted(names(choose_tiles(tiles, 2))) == ['0', '1', '2', '3']


def test_unlabelled_tiles_are_random():
    tiles = [record(str(i), None) for i in range(9)]
    assert len(set(names(choose_tiles(tiles, 3)))) == 3
    assert choose_tiles([], 3) == []


def test_constant_labels():
    tiles = [
        record('one class', [0, 100, 0, 0]),
        record('one class and unlabelled', [0, 99, 0, 0]),
        record('unlabelled', [0, 0, 0, 0]),
        record('two', [50, 50, 0, 0]),
        record('no label', None),
        record('all invalid', [0, 0, 0, 0], pixels=0),
    ]
    assert names(constant_label_tiles(tiles)) == ['one class', 'unlabelled']


def test_invalid_tiles():
    tiles = [record(str(share), None, invalid=share) for share in (0.0, 0.49, 0.5, 1.0)]
    assert names(invalid_tiles(tiles)) == ['1.0', '0.5']
