"""Where a model is wrong."""

import numpy as np
import pytest
from mmengine.config import ConfigDict

from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.errors import UserError
from dnas_mmseg.mapping.mistakes import TileMistakes, save_mistakes


def test_a_tiles_mistakes_are_counted():
    tile = TileMistakes(0, 'a.tif', np.array([[5, 2, 0], [1, 7, 4], [0, 3, 9]]))
    assert (tile.labelled, tile.wrong) == (31, 10)
    assert tile.swap == (1, 2)


def test_a_data_set_behind_a_wrapper_is_refused(trained, data_root, tmp_path):
    config = load_config(trained[0], data_root=data_root)
    plain = config.test_dataloader.dataset
    config.test_dataloader.dataset = ConfigDict(type='ConcatDataset', datasets=[plain, plain])
    with pytest.raises(UserError, match='no plain MultiBandSegDataset'):
        save_mistakes(config, trained[1], tmp_path)
