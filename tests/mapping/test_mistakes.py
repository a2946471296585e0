"""Where a model is wrong."""

import csv

import mmcv
import numpy as np
import pytest
from mmengine.config import Config

from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.errors import UserError
from dnas_mmseg.mapping.mistakes import TileMistakes, save_mistakes

from ..conftest import ROOT, run


def test_a_tiles_mistakes_are_counted():
    tile = TileMistakes(0, 'a.tif', np.array([[5, 2, 0], [1, 7, 4], [0, 3, 9]]))
    assert (tile.labelled, tile.wrong) == (31, 10)
    assert tile.swap == (1, 2)


def test_the_worst_tiles_come_first(trained, data_root, tmp_path):
    """All tiles are counted, by the scores of a test, and listed with their worst mistake."""
    config, checkpoint = trained
    code, output = run(
        ROOT / 'tools/analysis_tools/show_mistakes.py', config, checkpoint, '--data-root',
        data_root, '--split', 'train', '--number', 2, '--out-dir', tmp_path / 'out',
    )  # fmt: skip
    assert code == 0, output
    with (tmp_path / 'out/tiles.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    wrong = [int(row['wrong']) for row in rows]
    assert wrong == sorted(wrong, reverse=True)
    assert all(int(row['labelled']) == 64 * 64 - 16 for row in rows)
    assert all(' as ' in row['most_frequent_mistake'] for row in rows)
    share = 100 * sum(wrong) / sum(int(row['labelled']) for row in rows)
    assert f'4 tiles: {share:.1f} % of the pixels are wrong' in output
    for name in ('confusion.png', 'worst_tiles.png'):
        assert mmcv.imread(str(tmp_path / 'out' / name)).shape[0] > 100


def test_a_data_set_behind_a_wrapper_is_refused(trained, data_root, tmp_path):
    config = load_config(trained[0], data_root=data_root)
    plain = config.test_dataloader.dataset
    config.test_dataloader.dataset = Config(
        dict(type='ConcatDataset', datasets=[plain, plain])
    )._cfg_dict
    with pytest.raises(UserError, match='no plain MultiBandSegDataset'):
        save_mistakes(config, trained[1], tmp_path)
