"""Error analysis of models."""

import numpy as np
import pytest
from mmengine.config import ConfigDict

from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.errors import UserError
from dnas_mmseg.mapping.mistakes import TileMistakes, save_mistakes


def test_errors_of_a_tile_are_counted():
    tile = TileMistakes(0, 'a.tif', np.array([[5, 2, 0], [1, 7, 4], [0, 3, 9]]))
    assert (tile.labelled, tile.wrong) == (31, 10)
    assert tile.top_confusion == (1, 2)


def test_training_tiles_are_predicted_once_and_without_augmentation(trained, data_root, tmp_path):
    """The errors are those of the same list without augmentation, wrapped or not."""
    config = load_config(trained[0], data_root=data_root)
    config.test_dataloader.dataset.ann_file = config.train_dataloader.dataset.ann_file
    expected = save_mistakes(config, trained[1], tmp_path)
    plain = config.train_dataloader.dataset
    flip = dict(type='RandomFlip', prob=1.0)
    crop = dict(type='RandomCrop', crop_size=(32, 32))
    plain.pipeline = [*plain.pipeline[:-1], flip, crop, plain.pipeline[-1]]
    repeated = dict(type='RepeatDataset', times=3, dataset=plain)
    for dataset in (plain, dict(type='ConcatDataset', datasets=[plain, repeated])):
        config.train_dataloader.dataset = ConfigDict(dataset)
        found = save_mistakes(config, trained[1], tmp_path, split='train')
        assert [one.image for one in found] == [one.image for one in expected]
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one.confusion, other.confusion)


def test_training_tiles_require_a_pipeline_of_the_evaluation(trained, data_root, tmp_path):
    config = load_config(trained[0], data_root=data_root)
    config.val_dataloader = config.test_dataloader = None
    with pytest.raises(UserError, match='--split train needs a pipeline without augmentation'):
        save_mistakes(config, trained[1], tmp_path, split='train')


def test_other_data_sets_are_refused(trained, data_root, tmp_path):
    config = load_config(trained[0], data_root=data_root)
    plain = config.test_dataloader.dataset
    other = ConfigDict(plain, metainfo=dict(classes=('forest', 'water')))
    config.test_dataloader.dataset = ConfigDict(type='ConcatDataset', datasets=[plain, other])
    with pytest.raises(UserError, match='data sets of different classes'):
        save_mistakes(config, trained[1], tmp_path)
    config.test_dataloader = None
    with pytest.raises(UserError, match='expected data sets of type MultiBandSegDataset'):
        save_mistakes(config, trained[1], tmp_path)
    with pytest.raises(UserError, match='number = 0 tiles: expected at least 1'):
        save_mistakes(config, trained[1], tmp_path, number=0)
