"""Command `dnas plot-curves`."""

import json

from ..conftest import ROOT, run

TOOL = ROOT / 'tools/analysis_tools/plot_curves.py'


def training(folder, *scores):
    """Write a work dir with validation scores."""
    (folder / 'a/vis_data').mkdir(parents=True)
    lines = [json.dumps({'mIoU': score, 'step': i}) for i, score in enumerate(scores, 1)]
    (folder / 'a/vis_data/scalars.json').write_text('\n'.join(lines) + '\n')
    return folder


def test_curves_are_drawn_and_the_noise_is_printed(tmp_path):
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
    assert 'at the end' not in output  # the noise is unknown for a single run
    code, output = run(TOOL, f'x={x[0]}', f'x={x[1]}', f'y={y[0]}', '--out', out)
    assert 'mIoU at the end: ' in output  # a name may have several words


def test_models_without_a_name_are_refused(tmp_path):
    code, output = run(TOOL, tmp_path, '--out', tmp_path / 'curves.png')
    assert code == 1
    assert f'error: {tmp_path}: NAME=WORK_DIR[,WORK_DIR...] expected' in output
    assert not list(tmp_path.iterdir())
