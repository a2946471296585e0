"""Models with weights of eight bits."""

import json

import pytest

from dnas_mmseg.errors import UserError
from dnas_mmseg.mapping import quantization
from dnas_mmseg.mapping.openvino_model import OpenVINOModel
from dnas_mmseg.mapping.quantization import export_int8
from dnas_mmseg.mapping.scenes import load_segmentor

from ..conftest import ROOT, run
from .conftest import relative_error
from .test_testing import config as config

pytest.importorskip('nncf', reason='the extra openvino is not installed')


def test_eight_bits_are_nearly_as_good_or_refused(config, small, tmp_path, rng, monkeypatch):
    model = load_segmentor(config, small[1], 'cpu')
    monkeypatch.setattr(quantization, 'MAX_LOSS', 5.0)  # a random network is right by chance
    scores = export_int8(model, config, tmp_path / 'm.xml', 64)
    loaded = OpenVINOModel(tmp_path / 'm.xml')
    assert loaded.precision == 'int8'
    assert loaded.dataset_meta['validation_mIoU'] == scores
    assert abs(scores['float32'] - scores['int8']) < 5
    assert 1e-4 < relative_error(model, loaded, 2, rng, (64, 64)) < 0.5
    with pytest.raises(UserError, match='has weights of eight bits, not --precision bfloat16'):
        OpenVINOModel(tmp_path / 'm.xml', 'bfloat16')
    monkeypatch.setattr(quantization, 'MAX_LOSS', -100.0)
    with pytest.raises(UserError, match=r'points of mIoU .* use --precision bfloat16'):
        export_int8(model, config, tmp_path / 'refused.xml', 64)
    assert not (tmp_path / 'refused.xml').exists()


@pytest.mark.long
def test_the_tools_export_test_and_map_in_eight_bits(small, data_root, tmp_path):
    target = tmp_path / 'm.xml'
    code, output = run(
        ROOT / 'tools/export.py', *small, target, '--int8', '--window', 64, '--data-root',
        data_root, '--work-dir', tmp_path / 'work',
    )  # fmt: skip
    if code:
        assert 'eight bits cost' in output  # a random network
        return
    assert 'validation mIoU: float32' in output
    code, output = run(
        ROOT / 'tools/test.py', small[0], target, '--backend', 'openvino', '--data-root',
        data_root, '--work-dir', tmp_path / 'test',
    )  # fmt: skip
    assert code == 0, output
    assert 'mIoU' in json.loads((tmp_path / 'test/test_scores.json').read_text())
