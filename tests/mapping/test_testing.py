"""Testing of exported models."""

import json

import pytest
import torch
from mmengine.config import Config

from dnas_mmseg.engine import running
from dnas_mmseg.errors import UserError
from dnas_mmseg.mapping.onnx_model import OnnxModel, export_onnx
from dnas_mmseg.mapping.segmentor import load_segmentor
from dnas_mmseg.mapping.testing import as_samples, get_test_tile_size, score_exported

from .test_engine_segmentor import Halves


@pytest.fixture
def config(small, data_root, tmp_path):
    config = Config.fromfile(str(small[0]))
    for split in ('train', 'val', 'test'):
        config[f'{split}_dataloader'].dataset.data_root = str(data_root)
        config[f'{split}_dataloader'].num_workers = 0
        config[f'{split}_dataloader'].persistent_workers = False
    config.work_dir = str(tmp_path / 'work')
    return config


def test_scores_agree_with_torch(config, small, tmp_path):
    pytest.importorskip('onnxruntime', reason='the extra onnx is not installed')
    assert get_test_tile_size(config) == 64
    export_onnx(load_segmentor(config, small[1], 'cpu'), tmp_path / 'm.onnx', 64)
    exported = OnnxModel(tmp_path / 'm.onnx')
    for split in ('test', 'val'):  # the same tiles
        config.experiment_name = split
        scores = score_exported(config, exported, split)
    written = json.loads((tmp_path / 'work/test_scores.json').read_text())
    assert written == {name: float(value) for name, value in scores.items()}
    config.experiment_name = 'torch'
    assert running.test(config, str(small[1])) == pytest.approx(scores, abs=0.05)


def test_missing_splits_are_refused(config):
    config.test_dataloader = config.test_evaluator = config.test_cfg = None
    with pytest.raises(UserError, match='test_dataloader is missing'):
        get_test_tile_size(config)
    with pytest.raises(UserError, match='test_dataloader and test_evaluator are missing'):
        score_exported(config, Halves({}, 4, 8))


def test_tiles_are_cropped_and_padded_to_a_window():
    samples = as_samples(torch.ones(4, 10, 6, dtype=torch.uint8), 8)
    assert samples.shape == (1, 4, 8, 8)
    assert (samples[..., :6] == 1).all()
    assert (samples[..., 6:] != samples[..., 6:]).all()  # NaN
