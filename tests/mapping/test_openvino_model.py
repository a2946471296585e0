"""Inference of exported models with OpenVINO."""

from importlib import import_module
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from mmengine.config import Config

from dnas_mmseg.datasets.gid5 import BANDS, CLASSES
from dnas_mmseg.errors import UserError
from dnas_mmseg.mapping.onnx_model import export_onnx
from dnas_mmseg.mapping.openvino_model import OpenVINOModel, save_openvino
from dnas_mmseg.mapping.scene import Tiling
from dnas_mmseg.mapping.scenes import predict_scenes
from dnas_mmseg.mapping.segmentor import load_segmentor
from dnas_mmseg.mapping.windows import SegmentorWindows
from dnas_mmseg.raster import read_raster, write_raster

from .conftest import OTHERS, UNETS, assert_same_classes, load_untrained, relative_error

pytestmark = [
    pytest.mark.long,
    # Not imported here, as it would stay loaded in every test process.
    pytest.mark.skipif(find_spec('openvino') is None, reason='the extra openvino is not installed'),
]


@pytest.fixture
def openvino():
    return import_module('openvino')


@pytest.fixture
def model(small):
    return load_segmentor(Config.fromfile(str(small[0])), small[1], 'cpu')


@pytest.fixture
def file(model, tmp_path):
    export_onnx(model, tmp_path / 'm.onnx', 64)
    return tmp_path / 'm.onnx'


def test_logits_agree_with_torch(model, file, rng, openvino):
    exported = OpenVINOModel(file)
    assert (exported.num_bands, exported.window, exported.precision) == (4, 64, 'float32')
    assert exported.dataset_meta['bands'] == list(BANDS)
    assert exported.dataset_meta['classes'] == list(CLASSES)
    for count in (1, 3):
        assert relative_error(model, exported, count, rng, (64, 64)) < 1e-4
    # bfloat16 is close to torch, but not equal, which would be float32.
    reduced = OpenVINOModel(file, 'bfloat16')
    capable = 'BF16' in openvino.Core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
    error = relative_error(model, reduced, 2, rng, (64, 64))
    assert error < 0.1
    assert bool(error > 1e-4) is capable


@pytest.mark.parametrize('kind', UNETS | OTHERS)
def test_models_agree_at_odd_sizes(kind, tmp_path, rng):
    model = load_untrained(kind, tmp_path)
    exported = OpenVINOModel.from_segmentor(model, 97)
    for count in (1, 3):
        assert relative_error(model, exported, count, rng, (97, 97)) < 1e-4
    image = torch.from_numpy(rng.integers(0, 255, (4, 97, 97), np.uint8))
    assert_same_classes(exported.logits([image]), SegmentorWindows(model).logits([image]))


def test_batches_keep_the_order_and_small_windows_are_padded(model, file, rng):
    exported = OpenVINOModel.from_segmentor(model, 64)
    images = [torch.full((4, 64, 64), float(value)) for value in range(0, 250, 25)]
    together = exported.logits(images)
    for image, logits in zip(images, together, strict=True):
        np.testing.assert_allclose(exported.logits([image])[0], logits, rtol=1e-4, atol=1e-5)
    assert exported.logits([torch.zeros(4, 20, 30)]).shape == (1, 5, 20, 30)
    with pytest.raises(UserError, match='set --window 64'):
        exported.logits([torch.zeros(4, 65, 64)])


def test_maps_agree_with_torch(model, file, tmp_path, rng):
    write_raster(tmp_path / 's.tif', rng.integers(0, 255, (4, 100, 90), np.uint8), names=BANDS)
    maps = [
        predict_scenes(engine, [tmp_path / 's.tif'], tmp_path / name, tiling=Tiling(64, 16))
        for name, engine in (('torch', model), ('engine', OpenVINOModel(file)))
    ]
    by_torch, by_engine = (read_raster(next(iter(made))) for made in maps)
    assert (by_torch == by_engine).mean() > 0.999


def test_openvino_files_contain_the_metadata(model, file, tmp_path, rng, openvino):
    graph = openvino.Core().read_model(str(file))
    save_openvino(graph, {'classes': ['a'], 'threshold': 0.3, 'x': 1}, tmp_path / 'out/m.xml')
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == ['m.bin', 'm.xml']
    loaded = OpenVINOModel(tmp_path / 'out/m.xml')
    assert (loaded.dataset_meta, loaded.threshold) == ({'classes': ['a'], 'x': 1}, 0.3)
    assert relative_error(model, loaded, 1, rng, (64, 64)) < 1e-4


def test_invalid_files_and_precisions_are_refused(small, file, tmp_path):
    with pytest.raises(UserError, match=r'small\.pth was not written by dnas export'):
        OpenVINOModel(small[1])
    with pytest.raises(UserError, match='no such file'):
        OpenVINOModel(tmp_path / 'none.onnx')
    with pytest.raises(UserError, match='is not quantised and does not support --precision int8'):
        OpenVINOModel(file, 'int8')
    with pytest.raises(UserError, match='OpenVINO supports float32, bfloat16, int8'):
        OpenVINOModel(file, 'float16')
