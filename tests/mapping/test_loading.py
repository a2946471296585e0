"""Loading of models into their inference engine."""

from importlib.util import find_spec

import pytest
from mmengine.config import Config

from dnas_mmseg.errors import UserError
from dnas_mmseg.mapping.loading import ModelSource, default_backend, load_model, split_model
from dnas_mmseg.mapping.onnx_model import OnnxModel, export_onnx


@pytest.mark.parametrize(
    ('name', 'options', 'message'),
    [
        ('best.pth', dict(precision='int8'), '--precision int8 requires --backend openvino'),
        ('m.onnx', dict(backend='torch'), r'm\.onnx requires --backend onnxruntime or open'),
        ('m.onnx', dict(precision='bfloat16'), 'only the precision of the exported file'),
        (
            'm.onnx',
            dict(backend='openvino', device='cuda'),
            '--device cuda: the OpenVINO backend supports only the CPU',
        ),
        (
            'm.onnx',
            dict(backend='openvino', precision='float16'),
            'float16: OpenVINO supports float32, bfloat16, int8',
        ),
    ],
)
def test_unsupported_combinations_are_refused(name, options, message):
    with pytest.raises(UserError, match=message):
        load_model(name, lambda: Config(), **options)


@pytest.mark.parametrize(
    ('words', 'config', 'checkpoint', 'backend', 'rest'),
    [
        (['a.py', 'b.pth', 's.tif'], 'a.py', 'b.pth', 'torch', ['s.tif']),
        (['x::a/b.py', 'b.pth'], 'x::a/b.py', 'b.pth', 'torch', []),
        (['a.py', 'm.xml', 's.tif'], 'a.py', 'm.xml', 'openvino', ['s.tif']),
        (['m.onnx', 's.tif', 't.tif'], None, 'm.onnx', 'onnxruntime', ['s.tif', 't.tif']),
    ],
)
def test_models_are_split_from_other_words(words, config, checkpoint, backend, rest):
    assert split_model(words) == (config, checkpoint, rest)
    assert default_backend(checkpoint) == backend


def test_incomplete_and_unknown_models_are_refused():
    with pytest.raises(UserError, match=r'a\.py is a config: add its checkpoint after it'):
        split_model(['a.py'])
    with pytest.raises(UserError, match=r'a\.pth is a checkpoint: put its config before it'):
        split_model(['a.pth', 's.tif'])
    with pytest.raises(
        UserError, match=r"unknown pretrained model 'naip_smal'; available: naip_small"
    ):
        split_model(['naip_smal', 's.tif'])


def test_a_work_dir_is_identified_by_its_checkpoint(tmp_path, monkeypatch):
    for name in ('a', 'b'):
        (tmp_path / f'{name}.pth').write_text(name)
    monkeypatch.chdir(tmp_path.parent)
    source = ModelSource(tmp_path.name)
    (tmp_path / 'last_checkpoint').write_text('a.pth')
    pinned, first = source.resolve(), source.describe()
    (tmp_path / 'last_checkpoint').write_text('b.pth')
    assert source.describe() != first
    assert pinned.describe() == first
    assert pinned.checkpoint == str(tmp_path / 'a.pth')
    (tmp_path / 'a.pth').write_text('other')  # written again under the same name
    assert pinned.describe() != first
    (tmp_path / 'last_checkpoint').unlink()
    with pytest.raises(UserError, match='the folder contains no checkpoint'):
        source.resolve()


@pytest.mark.long
@pytest.mark.skipif(find_spec('openvino') is None, reason='the extra openvino is not installed')
def test_checkpoints_and_exported_files_run_in_openvino(small, tmp_path):
    config, checkpoint = Config.fromfile(str(small[0])), small[1]
    built = load_model(
        checkpoint, lambda: config, backend='openvino', precision='bfloat16', window=32
    )
    assert (built.window, built.precision) == (32, 'bfloat16')
    export_onnx(load_model(checkpoint, lambda: config), tmp_path / 'm.onnx', 32)
    loaded = load_model(tmp_path / 'm.onnx', None, backend='openvino')
    assert (loaded.window, loaded.precision) == (32, 'float32')
    assert isinstance(load_model(tmp_path / 'm.onnx', None), OnnxModel)
