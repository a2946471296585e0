"""Confusion matrices of maps."""

import numpy as np
import pytest

from dnas_mmseg.datasets import DatasetError
from dnas_mmseg.datasets.labels import LabelEncoding
from dnas_mmseg.evaluation import confusion_matrix
from dnas_mmseg.mapping.map_scores import count_map
from dnas_mmseg.raster import write_raster

from .conftest import pair

TRAIN_IDS = LabelEncoding('train_id', 5)


def test_every_labelled_pixel_counts_once(tmp_path, rng):
    truth, classes = pair(tmp_path, rng)
    write_raster(tmp_path / 's.png', truth)
    count = count_map(tmp_path / 'maps/s.tif', tmp_path / 's.png', TRAIN_IDS)
    expected = np.where(classes == 255, 255, truth)
    assert np.array_equal(count.matrix, confusion_matrix(expected, classes, 5))
    assert count.matrix.sum() == 990 * 40
    assert count.unmapped == 10 * 40


def test_a_few_unknown_label_values_are_not_scored(tmp_path, rng):
    truth, _ = pair(tmp_path, rng)
    truth[500, :9] = 77
    write_raster(tmp_path / 's.png', truth)
    count = count_map(tmp_path / 'maps/s.tif', tmp_path / 's.png', TRAIN_IDS)
    assert count.unknown == {'77': 9}
    assert count.matrix.sum() == 990 * 40 - 9


def test_maps_that_do_not_match_their_label_are_refused(tmp_path, rng):
    truth, _ = pair(tmp_path, rng, height=20)
    write_raster(tmp_path / 'small.png', truth[:10])
    with pytest.raises(DatasetError, match=r'small\.png: the label is \(10, 40\), the map is \(20'):
        count_map(tmp_path / 'maps/s.tif', tmp_path / 'small.png', TRAIN_IDS)
    write_raster(tmp_path / 'odd.png', np.full((20, 40), 7, np.uint8))
    with pytest.raises(DatasetError, match=r'odd\.png up to Window.*7 \(800 pixels\)'):
        count_map(tmp_path / 'maps/s.tif', tmp_path / 'odd.png', TRAIN_IDS)
    write_raster(tmp_path / 'map.tif', np.full((20, 40), 9, np.uint8))
    write_raster(tmp_path / 'label.png', np.zeros((20, 40), np.uint8))
    with pytest.raises(DatasetError, match=r'map\.tif at .*: class 9, expected 0 to 4'):
        count_map(tmp_path / 'map.tif', tmp_path / 'label.png', TRAIN_IDS)
