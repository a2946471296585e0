"""Windows and names of tiles, and pixels counted once."""

import numpy as np
import pytest

from dnas_mmseg.datasets.tiles import count_once_mask, parse_tile_name, tile_paths, tile_windows


def test_gid5_scene_has_210_tiles():
    windows = tile_windows(6800, 7200, 512, 512)
    assert len(windows) == 14 * 15
    covered = np.zeros((6800, 7200), bool)
    for column, row, width, height in windows:
        covered[row : row + height, column : column + width] = True
    assert covered.all()
    assert max(w.row_off for w in windows) == 6800 - 512
    assert tile_windows(512, 512, 512, 512) == [(0, 0, 512, 512)]
    assert len(tile_windows(512, 1024, 512, 256)) == 3


@pytest.mark.parametrize(
    ('height', 'width', 'stride'), [(100, 64, 64), (65, 130, 40), (20, 70, 64)]
)
def test_windows_cover_a_scene_and_stay_inside(height, width, stride):
    windows = tile_windows(height, width, 64, stride)
    assert len(set(windows)) == len(windows)
    times = np.zeros((max(height, 64), max(width, 64)), int)
    for column, row, columns, rows in windows:
        times[row : row + rows, column : column + columns] += 1
    assert times.min() == 1
    # Windows stay inside scenes larger than a tile.
    assert times.shape == (
        max(w.row_off for w in windows) + 64,
        max(w.col_off for w in windows) + 64,
    )


def test_tile_name_round_trip():
    image, label = tile_paths('GF2_1_MSS1', 512, 1024)
    assert (image, label) == ('images/GF2_1_MSS1_512_1024.tif', 'labels/GF2_1_MSS1_512_1024.png')
    assert parse_tile_name(image) == parse_tile_name(f'/data/{label}') == ('GF2_1_MSS1', 512, 1024)
    assert parse_tile_name('images/scene.tif') is None
    assert parse_tile_name('images/scene_12.tif') is None


@pytest.mark.parametrize('stride', [20, 24, 30, 32])
def test_pixels_of_overlapping_tiles_are_counted_once(stride):
    windows = tile_windows(91, 75, 32, stride)
    times = np.zeros((91, 75), int)
    for column, row, *_ in windows:
        neighbours = [
            (w.row_off - row, w.col_off - column)
            for w in windows
            if (w.row_off, w.col_off) != (row, column)
            and abs(w.row_off - row) < 32
            and abs(w.col_off - column) < 32
        ]
        times[row : row + 32, column : column + 32] += count_once_mask((32, 32), neighbours)
    np.testing.assert_array_equal(times, 1)


def test_tie_counts_in_the_left_tile():
    assert count_once_mask((3, 3), [(0, 2)]).all()
    np.testing.assert_array_equal(count_once_mask((3, 3), [(0, -2)]).all(0), [False, True, True])
