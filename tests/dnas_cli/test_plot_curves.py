"""Curves of trainings, as a user has them drawn."""

import json

from ..conftest import ROOT, run

TOOL = ROOT / 'tools/analysis_tools/plot_curves.py'


def training(folder, *scores):
    """A work dir with the scores of validations."""
    (folder / 'a/vis_data').mkdir(parents=True)
    lines = [json.dumps({'mIoU': score, 'step': i}) for i, score in enumerate(scores, 1)]
    (folder / 'a/vis_data/scalars.json').write_text('\n'.join(lines) + '\n')
    return folder


def test_runs_of_models_are_drawn_and_their_noise_is_told(tmp_path):
    x = [training(tmp_path / f'x{i}', 40.0, 50.0 + i) for i in range(2)]
    y = [training(tmp_path / f'y{i}', 40.0, 60.0 + i) for i in range(2)]
    out = tmp_path / 'curves.png'
    models = [f'{name}={",".join(map(str, runs))}' for name, runs in (('x', x), ('y', y))]
    code, output = run(TOOL, *models, '--out', out)
    assert code == 0, output
    assert 'mIoU at the end: ' in output
    assert out.stat().st_size > 5000
    code, output = run(TOOL, f'x={x[0]}', '--out', out)
    assert code == 0, output
    assert 'at the end' not in output  # one run of one model tells nothing of noise


def test_a_folder_needs_a_name(tmp_path):
    code, output = run(TOOL, tmp_path, '--out', tmp_path / 'curves.png')
    assert code == 1
    assert f'error: {tmp_path}: NAME=WORK_DIR[,WORK_DIR...] is expected' in output
    assert not list(tmp_path.iterdir())
