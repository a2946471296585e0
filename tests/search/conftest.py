"""A search of seconds."""

import pytest

from dnas_mmseg.apis import SearchPlan

from ..conftest import ROOT, make_data_root

LEVELS = ('path', 'connection', 'cell')


@pytest.fixture
def tiny(tmp_path):
    """Arguments of a search of seconds: two loading workers, crops and flips."""
    data_root = make_data_root(tmp_path / 'data', count=14)
    config = tmp_path / 'tiny.py'
    config.write_text(f"""
_base_ = '{ROOT}/configs/dnas/dnas_l14_gid5.py'
data_root = '{data_root}'
model = dict(backbone=dict(base_channels=2), decode_head=dict(channels=8))
tiles = dict(dataset=dict(data_root=data_root))
train_dataloader = tiles
val_dataloader = tiles
test_dataloader = tiles
train_cfg = dict(max_epochs=2)
param_scheduler = dict(T_max=2)
default_hooks = dict(logger=dict(interval=1))
""")
    return ['--config', config, '--layers', 4, '--epochs', 3, '--crop', 32, '--batch', 2]


@pytest.fixture
def plan(tiny):
    return SearchPlan(config=str(tiny[1]), layers=4, epochs=1, arch_start=0, crop=32, batch=2)
