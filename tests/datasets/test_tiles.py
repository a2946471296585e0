"""Where tiles lie in their scenes, and which of their pixels count."""

import numpy as np

from dnas_mmseg.datasets.tiles import tile_windows


def test_a_gid5_scene_has_210_tiles_that_cover_it():
    windows = tile_windows(6800, 7200, 512, 512)
    assert len(windows) == 14 * 15
    covered = np.zeros((6800, 7200), bool)
    for row, column, height, width in windows:
        covered[row : row + height, column : column + width] = True
    assert covered.all()
    assert max(w.row for w in windows) == 6800 - 512
    assert tile_windows(512, 512, 512, 512) == [(0, 0, 512, 512)]
    assert len(tile_windows(512, 1024, 512, 256)) == 3
