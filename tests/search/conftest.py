"""Fixtures of searches that take seconds, and synthetic histories."""

import pytest
import torch

from dnas_mmseg.apis import SearchPlan
from dnas_mmseg.search.history import Epoch, SearchHistory
from dnas_mmseg.spaces.dnas.architecture import DNASArchitecture

from ..conftest import ROOT, make_data_root

LEVELS = ('path', 'connection', 'cell')
L4 = DNASArchitecture(name='l4', level='path', layers=4, path=(0, 1, 1, 2))


@pytest.fixture
def tiny(tmp_path):
    """Command-line arguments of a tiny search with two loading workers, crops and flips."""
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


def searched(supernet, epochs=3):
    """A history of random architecture parameters."""
    history = SearchHistory(type(supernet).__name__, supernet.decisions)
    for i in range(epochs):
        for parameter in supernet.architecture_parameters().values():
            parameter.data += torch.randn_like(parameter)
        history.epochs.append(
            Epoch(
                i + 1,
                i > 0,
                tuple(tuple(p.tolist()) for p in supernet.probabilities()),
                supernet.decode(),
                0.5 if i else None,
            )
        )
    return history
