"""Exported ONNX models predict the same logits as the segmentor."""

import logging

import pytest
from mmengine.config import Config
from mmengine.runner import save_checkpoint
from mmseg.models import SegDataPreProcessor
from mmseg.registry import MODELS

from dnas_mmseg.errors import UserError
from dnas_mmseg.mapping.onnx_model import OnnxModel, export_onnx
from dnas_mmseg.mapping.segmentor import load_segmentor

from ..conftest import ROOT
from .conftest import OTHERS, load_untrained, relative_error

pytest.importorskip('onnxruntime', reason='the extra onnx is not installed')


@pytest.mark.long
@pytest.mark.parametrize(
    'name',
    [
        'dnas/dnas_l14_gid5',
        'dnas/dnas_l12_relu-head_naip',
        'pspnet/pspnet_r18-d8_gid5',
        'deeplabv3plus/deeplabv3plus_r18-d8_gid5',
        'hrnet/fcn_hr18s_gid5',
        'unet/unet_lite0_naip',
    ],
)
def test_every_model_agrees(name, tmp_path, rng):
    config = Config.fromfile(str(ROOT / f'configs/{name}.py'))
    model = MODELS.build(config.model)
    save_checkpoint(dict(state_dict=model.state_dict()), str(tmp_path / 'm.pth'))
    model = load_segmentor(config, tmp_path / 'm.pth', 'cpu')
    export_onnx(model, tmp_path / 'm.onnx', 128)
    exported = OnnxModel(tmp_path / 'm.onnx')
    for count in (1, 3):
        assert relative_error(model, exported, count, rng, (128, 128)) < 1e-4


@pytest.mark.parametrize(
    'kind',
    [
        'EfficientNet-Lite0',
        'timm',
        *(pytest.param(kind, marks=pytest.mark.long) for kind in ('DenseNAS', *OTHERS)),
    ],
)
def test_models_agree_at_odd_sizes(kind, tmp_path, rng, caplog):
    model = load_untrained(kind, tmp_path)
    export_onnx(model, tmp_path / 'm.onnx', 75)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert relative_error(model, OnnxModel(tmp_path / 'm.onnx'), 2, rng, (75, 75)) < 1e-4


def test_files_are_of_the_oldest_format_that_holds_them(small, tmp_path):
    onnx = pytest.importorskip('onnx')
    model = load_segmentor(Config.fromfile(str(small[0])), small[1], 'cpu')
    export_onnx(model, tmp_path / 'm.onnx', 64)
    written = onnx.load(tmp_path / 'm.onnx')
    assert (written.ir_version, written.opset_import[0].version) == (8, 18)
    onnx.checker.check_model(written, full_check=True)


def test_what_is_no_exported_model(trained, tmp_path):
    with pytest.raises(UserError, match=r'best\.pth was not written by dnas export'):
        OnnxModel(trained[1])
    with pytest.raises(UserError, match='no such file'):
        OnnxModel(tmp_path / 'none.onnx')
    model = load_segmentor(Config.fromfile(str(trained[0])), trained[1], 'cpu')
    model.data_preprocessor = SegDataPreProcessor()
    with pytest.raises(UserError, match='models with SegDataPreProcessor cannot be exported'):
        export_onnx(model, tmp_path / 'm.onnx')
