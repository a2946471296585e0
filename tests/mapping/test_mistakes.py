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


def test_wrapped_data_sets_are_refused(trained, data_root, tmp_path):
    config = load_config(trained[0], data_root=data_root)
    plain = config.test_dataloader.dataset
    config.test_dataloader.dataset = ConfigDict(type='ConcatDataset', datasets=[plain, plain])
    with pytest.raises(UserError, match='a MultiBandSegDataset without wrappers is required'):
        save_mistakes(config, trained[1], tmp_path)
    with pytest.raises(UserError, match='number = 0 tiles: expected at least 1'):
        save_mistakes(config, trained[1], tmp_path, number=0)
