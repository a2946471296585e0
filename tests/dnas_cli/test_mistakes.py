"""Command `dnas mistakes`."""

import csv

import mmcv

from ..conftest import ROOT, run


def test_the_worst_tiles_come_first(trained, data_root, tmp_path):
    """All tiles are counted and listed with their most frequent error."""
    config, checkpoint = trained
    code, output = run(
        ROOT / 'tools/analysis_tools/show_mistakes.py', config, checkpoint, '--data-root',
        data_root, '--split', 'train', '--number', 2, '--out-dir', tmp_path / 'out',
    )  # fmt: skip
    assert code == 0, output
    with (tmp_path / 'out/tiles.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    wrong = [int(row['wrong']) for row in rows]
    assert wrong == sorted(wrong, reverse=True)
    assert all(int(row['labelled']) == 64 * 64 - 16 for row in rows)
    assert all(' as ' in row['most_frequent_mistake'] for row in rows)
    share = 100 * sum(wrong) / sum(int(row['labelled']) for row in rows)
    assert f'4 tiles: {share:.1f} % of the pixels are wrong' in output
    for name in ('confusion.png', 'worst_tiles.png'):
        assert mmcv.imread(str(tmp_path / 'out' / name)).shape[0] > 100
