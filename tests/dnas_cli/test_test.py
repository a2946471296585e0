"""Command `dnas test`."""

import json
from pathlib import Path

import numpy as np
import pytest

from dnas_mmseg import apis
from dnas_mmseg.engine.configs import load_config
from dnas_mmseg.raster import read_raster

from ..conftest import ROOT, run


@pytest.mark.parametrize('flips', [False, True], ids=['plain', 'tta'])
def test_scores_are_written_to_the_work_dir(trained, data_root, tmp_path, flips):
    workers = '--cfg-options', 'test_dataloader.num_workers=0'
    code, output = run(
        ROOT / 'tools/test.py', *trained, '--data-root', data_root, '--work-dir', tmp_path / 'run',
        *(['--tta'] if flips else []), *workers,
    )  # fmt: skip
    assert code == 0, output
    written = json.loads((tmp_path / 'run/test_scores.json').read_text())
    config = load_config(
        trained[0], data_root=data_root, work_dir=tmp_path / 'again',
        options={'test_dataloader.num_workers': 0, 'experiment_name': str(tmp_path)},
    )  # fmt: skip
    expected = apis.test(config, str(trained[1]), flips=flips)
    assert 0 < expected['OA'] < 100
    assert written['OA'] == pytest.approx(expected['OA'], abs=1e-3)
    assert written['mIoU'] == pytest.approx(expected['mIoU'], abs=1e-3)


def test_a_checkpoint_of_another_model_is_refused(trained, data_root, tmp_path):
    code, output = run(
        ROOT / 'tools/test.py', *trained, '--data-root', data_root, '--work-dir', tmp_path / 'run',
        '--cfg-options', 'model.decode_head.channels=4',
    )  # fmt: skip
    assert code == 1
    assert f'error: {trained[1]} does not fit the model: ' in output
    assert 'size mismatch for decode_head.' in output
    assert 'Traceback' not in output


@pytest.mark.parametrize('flips', [False, True], ids=['plain', 'tta'])
def test_predictions_are_written_and_drawn(trained, data_root, tmp_path, flips):
    code, output = run(
        ROOT / 'tools/test.py', *trained, '--data-root', data_root, '--work-dir', tmp_path / 'run',
        '--out', tmp_path / 'ids', '--show-dir', tmp_path / 'shown', *(['--tta'] if flips else []),
        '--cfg-options', 'test_dataloader.num_workers=0', 'test_dataloader.batch_size=2',
    )  # fmt: skip
    assert code == 0, output
    lines = (data_root / 'test.txt').read_text().splitlines()
    stems = sorted(Path(line.split('\t')[0]).stem for line in lines)
    written = sorted((tmp_path / 'ids').iterdir())
    assert [path.stem for path in written] == stems
    ids, labels = (
        np.stack([read_raster(folder / path.name)[0] for path in written])
        for folder in (tmp_path / 'ids', data_root / 'labels')
    )
    accuracy = json.loads((tmp_path / 'run/test_scores.json').read_text())['OA']
    assert 100 * (ids == labels)[labels != 255].mean() == pytest.approx(accuracy, abs=0.01)
    assert len(list((tmp_path / 'shown').rglob('*.png'))) == len(stems)
