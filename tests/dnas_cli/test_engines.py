"""Options of programs that predict: which engine takes which file and precision."""

import argparse
from importlib.util import find_spec

import pytest
from mmengine.config import Config

from dnas_cli.command_line import UsageError
from dnas_cli.engines import (
    add_engine_options,
    load_model,
    settle_backend,
    take_model,
    torch_precision,
)
from dnas_mmseg.errors import UserError
from dnas_mmseg.mapping.onnx_model import OnnxModel, export_onnx


def _args(checkpoint, *words, device=None):
    parser = argparse.ArgumentParser()
    add_engine_options(parser)
    args = parser.parse_args(list(words))
    args.checkpoint, args.device = str(checkpoint), device
    settle_backend(args)
    return args


@pytest.mark.parametrize(
    ('name', 'words', 'device', 'message'),
    [
        ('best.pth', ('--precision', 'int8'), None, '--precision int8 needs --backend openvino'),
        ('m.onnx', ('--backend', 'torch'), None, r'm\.onnx needs --backend onnxruntime or open'),
        (
            'm.onnx',
            ('--backend', 'onnxruntime', '--precision', 'bfloat16'),
            None,
            'as it was exported',
        ),
        ('m.onnx', ('--backend', 'openvino'), 'cuda', '--device cuda: OpenVINO runs on the CPU'),
        ('m.onnx', ('--backend', 'openvino', '--precision', 'float16'), None, 'float16: OpenVINO'),
    ],
)
def test_what_an_engine_cannot_do_is_refused(name, words, device, message):
    with pytest.raises(UsageError, match=message):
        load_model(_args(name, *words, device=device), 64, lambda: None)


@pytest.mark.parametrize(
    ('words', 'config', 'checkpoint', 'backend', 'rest'),
    [
        (['a.py', 'b.pth', 's.tif'], 'a.py', 'b.pth', 'torch', ['s.tif']),
        (['x::a/b.py', 'b.pth'], 'x::a/b.py', 'b.pth', 'torch', []),
        (['a.py', 'm.xml', 's.tif'], 'a.py', 'm.xml', 'openvino', ['s.tif']),
        (['m.onnx', 's.tif', 't.tif'], None, 'm.onnx', 'onnxruntime', ['s.tif', 't.tif']),
    ],
)
def test_a_model_is_named_in_three_ways(words, config, checkpoint, backend, rest):
    args = argparse.Namespace(backend=None)
    assert take_model(args, words) == rest
    assert (args.config, args.checkpoint, args.backend) == (config, checkpoint, backend)


def test_a_model_that_is_none():
    with pytest.raises(UsageError, match=r'a\.py is a config: its checkpoint is to follow'):
        take_model(argparse.Namespace(backend=None), ['a.py'])
    with pytest.raises(
        UserError, match="there is no model 'naip_smal'; with the package come: naip_small"
    ):
        take_model(argparse.Namespace(backend=None), ['naip_smal', 's.tif'])


@pytest.mark.long
@pytest.mark.skipif(find_spec('openvino') is None, reason='the extra openvino is not installed')
def test_a_checkpoint_and_an_exported_file_go_to_openvino(small, tmp_path):
    config = Config.fromfile(str(small[0]))
    args = _args(small[1], '--backend', 'openvino', '--precision', 'bfloat16')
    built = load_model(args, 32, lambda: config)
    assert (built.window, built.precision) == (32, 'bfloat16')
    assert torch_precision(args) == 'float32'
    torch_model = load_model(_args(small[1]), 32, lambda: config)
    export_onnx(torch_model, tmp_path / 'm.onnx', 32)
    loaded = load_model(_args(tmp_path / 'm.onnx', '--backend', 'openvino'), 0, lambda: None)
    assert (loaded.window, loaded.precision) == (32, 'float32')
    args = _args(tmp_path / 'm.onnx', '--backend', 'onnxruntime')
    assert isinstance(load_model(args, 0, lambda: None), OnnxModel)
    assert torch_precision(_args('x', '--precision', 'bfloat16')) == 'bfloat16'
