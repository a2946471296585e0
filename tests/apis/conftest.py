"""A narrow network with a checkpoint, as training would leave it."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.runner import save_checkpoint
from mmseg.registry import MODELS

from dnas_mmseg.datasets.gid5 import BANDS, CLASSES, PALETTE

from ..conftest import ROOT


@pytest.fixture
def trained(tmp_path: Path) -> tuple[Path, Path]:
    """Path of a config, and of a checkpoint with its data's facts."""
    config = tmp_path / 'config.py'
    config.write_text(
        f"_base_ = '{ROOT}/configs/dnas/dnas_l12_gid5.py'\n"
        'model = dict(backbone=dict(base_channels=2), decode_head=dict(channels=8))\n'
    )
    model = MODELS.build(Config.fromfile(str(config)).model)
    meta = dict(classes=list(CLASSES), palette=[list(c) for c in PALETTE], bands=BANDS)
    checkpoint = tmp_path / 'best.pth'
    content = dict(state_dict=model.state_dict(), meta=dict(dataset_meta=meta))
    save_checkpoint(content, str(checkpoint))
    return config, checkpoint
