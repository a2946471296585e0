"""Command `dnas select`."""

import subprocess
import sys

import pytest

from dnas_cli.select import main

from ..conftest import DNAS, ROOT

CONFIG = ROOT / 'configs/unet/unet_lite0_naip.py'


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ((), '--config is required'),
        (('--config', CONFIG), '--hours is required'),
        (('--config', CONFIG, '--hours', 0), 'hours = 0.0: expected a positive number'),
        (('--config', CONFIG, '--hours', 1, '--workers', 0), '--workers 0: must be at least 1'),
        (('--config', CONFIG, '--hours', 1, '--limit', 'much'), "target 'much': expected a number"),
        (('--config', CONFIG, '--hours', 1, '--limit', '4ms'), 'requires a --latency-table'),
        (('--config', CONFIG, '--hours', 1, '--families', 'unett'), 'did you mean unet?'),
        (('--join', '--config', CONFIG, '--hours', 1), '--join requires the --storage'),
        (('--config', CONFIG, '--hours', 1, '--pace', 'none.json'), 'is not a pace.json'),
    ],
)
def test_mistakes_are_one_line(tmp_path, options, message, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('dnas_mmseg.selection.workers.interrupt_on', lambda *signals: None)
    monkeypatch.setattr(sys, 'argv', ['dnas select', '--work-dir', 'run', *map(str, options)])
    with pytest.raises(SystemExit) as raised:
        main()
    assert str(raised.value.code).startswith('error: ')
    assert message in str(raised.value.code)
    assert not (tmp_path / 'run/search.json').exists()


def test_the_work_dir_is_required():
    done = subprocess.run([DNAS, 'select'], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == 'error: the following arguments are required: --work-dir (see --help)\n'
