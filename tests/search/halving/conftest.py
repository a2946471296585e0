"""Fixtures of selections that take seconds."""

import pytest

from dnas_mmseg.search.halving.plan import SelectionPlan
from dnas_mmseg.search.plan import SearchPlan

from ...conftest import ROOT, make_data_root


@pytest.fixture
def tiny(tmp_path):
    """Config of a tiny network with a schedule of two epochs."""
    data_root = make_data_root(tmp_path / 'data', count=14)
    test = data_root / 'test.txt'
    test.write_text(test.read_text().splitlines()[0] + '\n')
    config = tmp_path / 'tiny.py'
    config.write_text(f"""
_base_ = '{ROOT}/configs/dnas/dnas_l14_adamw-ema_gid5.py'
data_root = '{data_root}'
model = dict(backbone=dict(base_channels=2), decode_head=dict(channels=8))
tiles = dict(batch_size=4, num_workers=0, persistent_workers=False,
             dataset=dict(data_root=data_root))
train_dataloader = tiles
val_dataloader = tiles
test_dataloader = tiles
train_cfg = dict(max_epochs=2, val_interval=2)
""")
    return config


@pytest.fixture
def network(tiny):
    return SearchPlan(config=str(tiny), layers=4, cost_size=64)


@pytest.fixture
def plan(network):
    return SelectionPlan(network=network, budget=4, rungs=(0.5, 1.0))
