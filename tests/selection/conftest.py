"""Fixtures of selections that take seconds."""

from types import SimpleNamespace

import pytest

from dnas_mmseg.selection.candidates import CandidateSet
from dnas_mmseg.selection.lengths import Lengths
from dnas_mmseg.selection.pace import LinearPace, Pace
from dnas_mmseg.selection.plan import SelectionPlan

from ..conftest import ROOT, make_data_root

CONFIG = """
_base_ = '{root}/configs/dnas/dnas_l14_adamw-ema_gid5.py'
data_root = '{data_root}'
model = dict(backbone=dict(base_channels=2), decode_head=dict(channels=8))
tiles = dict(batch_size=4, num_workers=0, persistent_workers=False,
             dataset=dict(data_root=data_root))
train_dataloader = tiles
val_dataloader = tiles
test_dataloader = tiles
train_cfg = dict(max_epochs=2, val_interval=2)
"""

UNET = """
_base_ = '{root}/configs/unet/fcn_unet_s5_naip.py'
model = dict(
    backbone=dict(base_channels=2),
    decode_head=dict(in_channels=2, channels=2),
)
choices = {{
    'model.decode_head.channels': [2, 4],
    'optim_wrapper.optimizer.lr': {{'log_range': (5e-4, 4e-3)}},
}}
"""


@pytest.fixture
def tiny(tmp_path):
    """Config of a tiny network on tiny data."""
    data_root = make_data_root(tmp_path / 'data', count=14)
    test = data_root / 'test.txt'
    test.write_text(test.read_text().splitlines()[0] + '\n')
    config = tmp_path / 'tiny.py'
    config.write_text(CONFIG.format(root=ROOT, data_root=data_root))
    return config


@pytest.fixture
def small_unet(tmp_path):
    """Config of a U-Net of a few channels with two choices."""
    config = tmp_path / 'small_unet.py'
    config.write_text(UNET.format(root=ROOT))
    return config


@pytest.fixture
def plain_unet(small_unet):
    """The config of ``small_unet`` without its choices, which would have to be timed."""
    text = small_unet.read_text()
    small_unet.write_text(text[: text.index('choices')])
    return small_unet


@pytest.fixture
def plan(tiny, small_unet):
    return SelectionPlan(
        str(tiny), hours=0.01, families=('dnas', str(small_unet)), layers=4, cost_size=64
    )


@pytest.fixture
def candidates(plan):
    return CandidateSet(plan)


@pytest.fixture
def pace():
    """Times of the families of ``plan`` whose trainings have one to three epochs."""
    return Pace(
        spaces={'dnas': LinearPace(1.0, 0.0)},
        candidates={'small_unet': 1.0},
        validations={'dnas': 0.1, 'small_unet': 0.1},
        schedule=2.0,
        lengths=Lengths((1.0, 3.0), 3.0, 12.0, 0.1),
    )


def stand_in(plan, initial, given):
    """Return a stand-in for CandidateSet with a searched family ``dnas`` and ``hrnet``."""
    families = {
        'dnas': SimpleNamespace(is_searched=True, describe=lambda candidate: ''),
        'hrnet': SimpleNamespace(is_searched=False, describe=lambda candidate: ''),
    }
    return SimpleNamespace(
        plan=plan,
        families=families,
        initial=initial,
        given=given,
        excluded={},
        noise=1.0,
        label=lambda candidate: candidate.name,
        cost_by=lambda candidate, metric: (
            {'macs': 2e9, 'params': 3e5}[metric] + len(candidate.name)
        ),
        full_config=lambda candidate: SimpleNamespace(train_cfg={'max_epochs': 28}),
    )
