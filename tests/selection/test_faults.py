"""Machine faults during a selection, with real processes of the installed command."""

import json
import os
import signal
import subprocess
import time

import pytest

from dnas_mmseg.selection.queue import HEARTBEAT_TIMEOUT

from ..conftest import DNAS

pytestmark = pytest.mark.long


class Selection:
    """A selection in a work dir that takes seconds."""

    def __init__(self, tiny, plain_unet, work_dir):
        self.config, self.other, self.work_dir = tiny, plain_unet, work_dir

    def start(self, *more):
        command = [
            DNAS, 'select', '--config', self.config, '--hours', 0.01, '--families', 'dnas',
            self.other, '--layers', 4, '--cost-size', 64, '--threads', 1,
            '--work-dir', self.work_dir, *more,
        ]  # fmt: skip
        self.process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip
        return self

    def results(self):
        return len(list(self.work_dir.glob('trainings/*/rung_*.json')))

    def wait_for(self, condition, seconds=240):
        end = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.process.stdout.read()
            assert time.monotonic() < end
            time.sleep(0.1)

    def end(self):
        output, _ = self.process.communicate(timeout=300)
        return self.process.returncode, output

    def board(self):
        board = json.loads((self.work_dir / 'leaderboard.json').read_text())
        for candidate in board['candidates']:
            del candidate['seconds']
        return board

    def log(self):
        return ''.join(path.read_text() for path in self.work_dir.glob('workers/*.txt'))


@pytest.fixture
def undisturbed(tiny, plain_unet, pace, tmp_path):
    """A selection without faults."""
    path = tmp_path / 'pace.json'
    path.write_text(json.dumps(pace.to_document()))
    selection = Selection(tiny, plain_unet, tmp_path / 'undisturbed').start('--pace', path)
    code, output = selection.end()
    assert code == 0, output
    return selection


def assert_same(selection, undisturbed):
    code, output = selection.end()
    assert code == 0, output
    assert selection.board() == undisturbed.board()


def test_short_outage_of_the_data(tiny, plain_unet, tmp_path, undisturbed):
    data, away = tmp_path / 'data', tmp_path / 'away'
    pace = undisturbed.work_dir / 'pace.json'
    selection = Selection(tiny, plain_unet, tmp_path / 'run').start('--pace', pace)
    selection.wait_for(lambda: selection.results() >= 1)
    data.rename(away)
    selection.wait_for(lambda: 'returns to the queue' in selection.log())
    away.rename(data)
    assert_same(selection, undisturbed)


def test_long_outage_of_the_data(tiny, plain_unet, tmp_path, undisturbed):
    data, away = tmp_path / 'data', tmp_path / 'away'
    pace = undisturbed.work_dir / 'pace.json'
    selection = Selection(tiny, plain_unet, tmp_path / 'run').start('--pace', pace)
    selection.wait_for(lambda: selection.results() >= 1)
    data.rename(away)
    code, output = selection.end()
    assert code == 1
    assert 'a worker stopped: 2 consecutive trainings could not run' in output
    page = (selection.work_dir / 'report.html').read_text()
    assert 'The selection has stopped: a worker stopped' in page
    assert 'The selection is running' not in page
    away.rename(data)
    assert_same(selection.start('--resume'), undisturbed)


def test_suspended_worker(tiny, plain_unet, tmp_path, undisturbed):
    """The worker is considered dead; its training is not repeated."""
    pace = undisturbed.work_dir / 'pace.json'
    selection = Selection(tiny, plain_unet, tmp_path / 'run').start('--pace', pace)
    selection.wait_for(lambda: selection.results() >= 1)
    children = subprocess.run(
        ['pgrep', '-P', str(selection.process.pid), '-f', 'spawn_main'],
        capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    os.kill(int(children[0]), signal.SIGSTOP)
    time.sleep(HEARTBEAT_TIMEOUT + 15)
    os.kill(int(children[0]), signal.SIGCONT)
    assert_same(selection, undisturbed)


def test_full_disk(tiny, plain_unet, tmp_path, undisturbed):
    disk = tmp_path / 'disk'
    disk.mkdir()
    mounted = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', disk])
    if mounted.returncode:
        pytest.skip('requires the permission to mount a file system')
    try:
        selection = Selection(tiny, plain_unet, disk / 'run')
        selection.start('--pace', undisturbed.work_dir / 'pace.json')
        selection.wait_for(lambda: selection.results() >= 1)
        with (disk / 'ballast').open('wb', buffering=0) as ballast, pytest.raises(OSError):
            while True:
                ballast.write(bytes(4096))
        code, output = selection.end()
        assert code == 1
        assert 'No space left' in output
        (disk / 'ballast').unlink()
        assert_same(selection.start('--resume'), undisturbed)
    finally:
        subprocess.run(['umount', '-l', disk])
