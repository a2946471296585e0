import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import TRANSFORMS

from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.errors import UserError
from dnas_mmseg.selection.choices import Choices

from ..conftest import ROOT


@pytest.fixture
def config():
    return load_config(ROOT / 'configs/hrnet/fcn_hr18s_naip.py')


def choices(config, **declared):
    config.choices = declared
    return Choices(config, 'mine.py')


CHANNELS = 'model.backbone.extra.stage2.num_channels'
RATE = 'optim_wrapper.optimizer.lr'


def test_values_are_set(config):
    init_default_scope('mmseg')
    found = choices(
        config,
        **{
            CHANNELS: [(18, 36), (32, 64)],
            RATE: {'log_range': (5e-4, 4e-3)},
            'train_pipeline.2.crop_size': [(128, 128), (64, 64)],
        },
    )
    assert found.count == 2 * 10 * 2  # nine values of the range and the config's own
    assert found.default == (0, 0, 0)
    default = config.copy()
    found.apply(default, found.default)
    assert default.optim_wrapper.optimizer.lr == config.optim_wrapper.optimizer.lr
    found.apply(config, (1, 9, 1))
    assert config.model.backbone.extra.stage2.num_channels == (32, 64)
    assert config.optim_wrapper.optimizer.lr == 0.004
    # The data set has a copy of train_pipeline.
    assert config.train_dataloader.dataset.pipeline[2].crop_size == (64, 64)
    assert TRANSFORMS.build(config.train_dataloader.dataset.pipeline[2]).crop_size == (64, 64)
    assert found.describe((1, 9, 1)) == 'num_channels (32, 64), lr 0.004, crop_size (64, 64)'


def test_neighbours_and_samples(config, rng):
    found = choices(config, **{CHANNELS: [(18, 36), (32, 64)], RATE: [1e-3, 2e-3, 4e-3]})
    assert sorted(found.neighbours((0, 1))) == [(0, 0), (0, 2), (1, 1)]
    assert {found.random(rng) for _ in range(60)} == {(i, j) for i in range(2) for j in range(3)}


def test_numbers_are_encoded_by_their_logarithms(config):
    found = choices(
        config,
        **{
            CHANNELS: [(18, 36), (32, 64)],
            RATE: [1e-3, 4e-3],
            'model.decode_head.dropout_ratio': [0.0, 0.1],
            'model.decode_head.act_cfg.type': ['ReLU', 'GELU'],
        },
    )
    expected = [np.log(18), np.log(36), np.log(4e-3), 0.0, 0.0, 1.0]
    config.model.decode_head.act_cfg = dict(type='ReLU')
    assert found.encode((0, 1, 0, 1)) == pytest.approx(expected)


@pytest.fixture(autouse=True)
def head(config):
    config.model.decode_head.update(dropout_ratio=0.0, act_cfg=dict(type='ReLU'))


@pytest.mark.parametrize(
    ('key', 'values', 'message'),
    [
        ('model.backbone.extra.stage9', [1, 2], "model.backbone.extra has no 'stage9'; available"),
        ('train_pipeline.9.crop_size', [1, 2], "train_pipeline has no '9'; available: 0, 1, 2"),
        (RATE, [1e-3], 'expected a list of two or more values'),
        (RATE, 1e-3, 'expected a list of two or more values'),
        (RATE, [1e-3, 1e-3], 'a value occurs twice'),
        (RATE, {'log_range': (1e-3,)}, 'expected {'),
        (RATE, {'range': (1e-3, 1)}, 'expected {'),
        (RATE, {'log_range': (0, 1e-3)}, 'expected 0 < low < high'),
        (RATE, {'log_range': (1e-2, 1e-3)}, 'expected 0 < low < high'),
        ('train_cfg.max_epochs', [1, 2], 'changes nothing in a selection'),
        ('val_dataloader.batch_size', [1, 2], 'changes nothing in a selection'),
        ('train_dataloader.num_workers', [1, 2], 'changes nothing in a selection'),
        ('train_dataloader.dataset.ann_file', ['a.txt', 'b.txt'], 'changes nothing'),
        ('custom_hooks.0.momentum', [1e-3, 1e-2], 'changes nothing in a selection'),
    ],
)
def test_invalid_choices(config, key, values, message):
    with pytest.raises(UserError, match=message) as raised:
        choices(config, **{key: values})
    assert f"mine.py: choices['{key}']" in str(raised.value)


def test_a_config_without_choices_is_a_single_candidate(config):
    found = Choices(config, 'mine.py')
    assert (found.count, found.default, list(found.neighbours(()))) == (1, (), [])
    with pytest.raises(UserError, match='choices must be a dict'):
        Choices(Config(dict(choices=[1])), 'mine.py')
