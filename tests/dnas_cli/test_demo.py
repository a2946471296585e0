"""Command `dnas demo`."""

from ..conftest import ROOT, run


def test_unrelated_folders_are_not_overwritten(tmp_path):
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data/mine.txt').write_text('mine')
    code, output = run(ROOT / 'tools/demo.py', '--work-dir', tmp_path)
    assert code == 1
    assert 'is not empty and not from an earlier demo: choose another --work-dir' in output
    assert (tmp_path / 'data/mine.txt').read_text() == 'mine'
    assert [path.name for path in tmp_path.iterdir()] == ['data']
