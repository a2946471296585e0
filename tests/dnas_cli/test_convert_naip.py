"""Sorting NAIP tiles, as a user starts it."""

from ..conftest import ROOT, run


def test_another_folder_is_refused_in_one_line(tmp_path):
    code, output = run(
        ROOT / 'tools/dataset_converters/naip_rgbn.py', tmp_path, '--out', tmp_path / 'out'
    )
    assert code == 1
    last = output.splitlines()[-1]
    assert last.startswith(f'error: {tmp_path}')
    assert last.endswith(f'no such file; {tmp_path} is not the dataset_split folder')
    assert 'Traceback' not in output
    assert not (tmp_path / 'out').exists()
