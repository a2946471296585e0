"""Exporting, and mapping by what was exported."""

import numpy as np
import pytest
import torch
from mmengine.config import Config

from dnas_mmseg.datasets.gid5 import BANDS
from dnas_mmseg.errors import UserError
from dnas_mmseg.mapping.onnx_model import OnnxModel
from dnas_mmseg.mapping.scene import Tiling
from dnas_mmseg.mapping.scenes import load_segmentor, predict_scenes
from dnas_mmseg.raster import read_raster, write_raster

from ..conftest import ROOT, run
from ..mapping.conftest import relative_error

pytest.importorskip('onnxruntime', reason='the extra onnx is not installed')


def test_the_tools_export_and_map_without_mmseg(small, tmp_path, rng):
    target = tmp_path / 'model.onnx'
    code, output = run(ROOT / 'tools/export.py', *small, target, '--window', 64)
    assert code == 0, output
    model, exported = (
        load_segmentor(Config.fromfile(str(small[0])), small[1]),
        OnnxModel(target),
    )
    assert exported.window == 64
    assert exported.dataset_meta['bands'] == list(BANDS)
    for count in (1, 3):
        assert relative_error(model, exported, count, rng, (64, 64)) < 1e-4
    samples = rng.integers(1, 255, (4, 100, 90), np.uint8)
    samples[:, :9] = 0
    write_raster(tmp_path / 's.tif', samples[[3, 0, 1, 2]], nodata=0, names=('blue', *BANDS[:3]))
    (by_torch,) = predict_scenes(
        model, [tmp_path / 's.tif'], tmp_path / 'torch', tiling=Tiling(64, 16)
    )
    code, output = run(
        ROOT / 'tools/predict.py', 'no-config-needed.py', target, tmp_path / 's.tif', '--window',
        64, '--overlap', 16, '--backend', 'onnxruntime', '--out-dir', tmp_path / 'out',
    )  # fmt: skip
    assert code == 0, output
    got, expected = read_raster(tmp_path / 'out/s.tif'), read_raster(by_torch)
    assert (got == expected).mean() > 0.999
    # A scene smaller than the window is filled up; windows that are larger are refused.
    assert exported.logits([torch.zeros(4, 20, 30)]).shape == (1, 5, 20, 30)
    with pytest.raises(UserError, match='give --window 64, or export it anew'):
        exported.logits([torch.zeros(4, 65, 64)])
