"""Int8 models, each in a separate process, because engines keep threads and memory."""

import json
from importlib.util import find_spec

import pytest

from ..conftest import run

pytestmark = [
    pytest.mark.long,
    # Not imported here, as it would stay loaded in every test process.
    pytest.mark.skipif(find_spec('nncf') is None, reason='the extra openvino is not installed'),
]

_PROGRAM = """
import sys
from dnas_cli import export
from dnas_mmseg.mapping import quantization
quantization.MAX_LOSS = {loss}  # the network is untrained
export.main()
"""

_LOOK = """
import json
import numpy as np
import torch
from mmengine.config import Config
from dnas_mmseg.errors import UserError
from dnas_mmseg.mapping.openvino_model import OpenVINOModel
from dnas_mmseg.mapping.segmentor import load_segmentor
from dnas_mmseg.mapping.windows import SegmentorWindows
loaded = OpenVINOModel('{file}')
model = load_segmentor(Config.fromfile('{config}'), '{checkpoint}', 'cpu')
rng = np.random.default_rng(0)
images = [torch.from_numpy(rng.integers(0, 255, (4, 64, 64), np.uint8)) for _ in range(2)]
expected, got = SegmentorWindows(model).logits(images), loaded.logits(images)
try:
    OpenVINOModel('{file}', 'bfloat16')
except UserError as error:
    refused = str(error)
print(json.dumps(dict(
    precision=loaded.precision, scores=loaded.dataset_meta['validation_mIoU'], refused=refused,
    error=float(np.abs(got - expected).max() / np.abs(expected).max()),
)))
"""


@pytest.fixture
def export(small, data_root, tmp_path):
    """Run tools/export.py --int8 with another limit of the loss."""

    def call(target, loss):
        program = tmp_path / 'program.py'
        program.write_text(_PROGRAM.format(loss=loss))
        return run(
            program, *small, target, '--int8', '--window', 64, '--data-root', data_root,
            '--work-dir', tmp_path / 'work',
        )  # fmt: skip

    return call


def test_int8_scores_are_close_to_float32(export, small, data_root, tmp_path):
    code, output = export(tmp_path / 'm.xml', 5.0)
    assert code == 0, output
    assert 'validation mIoU in float32' in output
    program = tmp_path / 'look.py'
    program.write_text(_LOOK.format(config=small[0], checkpoint=small[1], file=tmp_path / 'm.xml'))
    code, output = run(program)
    assert code == 0, output
    seen = json.loads(output.splitlines()[-1])
    assert seen['precision'] == 'int8'
    assert 'is quantised and does not support --precision bfloat16' in seen['refused']
    assert 1e-4 < seen['error'] < 0.5
    scores = seen['scores']
    assert abs(scores['float32'] - scores['int8']) < 5
    code, output = run(
        'tools/test.py', small[0], tmp_path / 'm.xml', '--backend', 'openvino', '--data-root',
        data_root, '--work-dir', tmp_path / 'test',
    )  # fmt: skip
    assert code == 0, output
    tested = json.loads((tmp_path / 'test/test_scores.json').read_text())['mIoU']
    assert tested == pytest.approx(scores['int8'], abs=0.1)  # the same tiles


def test_a_large_loss_is_refused(export, tmp_path):
    code, output = export(tmp_path / 'm.xml', -100.0)
    assert code == 1
    assert 'points of mIoU' in output
    assert 'use --precision bfloat16' in output
    assert not (tmp_path / 'm.xml').exists()
    code, output = export(tmp_path / 'm.onnx', 5.0)
    assert code == 1
    assert 'the file name must end with .xml' in output
