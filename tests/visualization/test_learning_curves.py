import json

import mmcv
import pytest

from dnas_mmseg.errors import UserError
from dnas_mmseg.visualization import read_curve, save_learning_curves


def test_curves_of_resumed_runs_are_read_and_plotted(tmp_path):
    parts = {'a': [(2, 40.0), (4, 55.0)], 'b': [(4, 56.0), (8, 60.0)]}  # b resumed from 3
    for name, values in parts.items():
        folder = tmp_path / f'run/{name}/vis_data'
        folder.mkdir(parents=True)
        lines = [json.dumps({'mIoU': y, 'step': x}) for x, y in values]
        (folder / 'scalars.json').write_text(
            '\n'.join(['{"loss": 1.0, "step": 9}', *lines, '{"mIo'])
        )
    curve = read_curve(tmp_path / 'run')
    assert curve == [(0.25, 40.0), (0.5, 56.0), (1.0, 60.0)]
    save_learning_curves(tmp_path / 'c.png', {'x': [curve, curve], 'y': [curve]})
    assert mmcv.imread(str(tmp_path / 'c.png')).std() > 5
    with pytest.raises(UserError, match='the logs contain no validation with OA'):
        read_curve(tmp_path / 'run', 'OA')
