"""Faults of a machine in the middle of a selection: real processes, by the installed command."""

import json
import os
import signal
import subprocess
import time

import pytest

from dnas_mmseg.search.selection.study import SILENCE

from ...conftest import DNAS

pytestmark = pytest.mark.long


class Selection:
    """A selection of seconds in a work dir."""

    def __init__(self, tiny, work_dir):
        self.config, self.work_dir = tiny, work_dir

    def start(self, *more):
        command = [
            DNAS, 'search', 'dnas', '--strategy', 'halving', '--config', self.config,
            '--layers', 4, '--cost-size', 64, '--budget', 4, '--rungs', '1/2', 1,
            '--threads', 1, '--work-dir', self.work_dir, *more,
        ]  # fmt: skip
        self.process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip
        return self

    def results(self):
        return len(list(self.work_dir.glob('trainings/*/result.json')))

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
def undisturbed(tiny, tmp_path):
    selection = Selection(tiny, tmp_path / 'undisturbed').start()
    code, output = selection.end()
    assert code == 0, output
    return selection


def same(selection, undisturbed):
    code, output = selection.end()
    assert code == 0, output
    assert selection.board() == undisturbed.board()


def test_data_that_are_away_for_a_while(tiny, tmp_path, undisturbed):
    data, away = tmp_path / 'data', tmp_path / 'away'
    pace = undisturbed.work_dir / 'pace.json'
    selection = Selection(tiny, tmp_path / 'run').start('--pace', pace)
    selection.wait_for(lambda: selection.results() >= 1)
    data.rename(away)
    selection.wait_for(lambda: 'returns to the queue' in selection.log())
    away.rename(data)
    same(selection, undisturbed)


def test_data_that_stay_away_and_come_back(tiny, tmp_path, undisturbed):
    data, away = tmp_path / 'data', tmp_path / 'away'
    pace = undisturbed.work_dir / 'pace.json'
    selection = Selection(tiny, tmp_path / 'run').start('--pace', pace)
    selection.wait_for(lambda: selection.results() >= 1)
    data.rename(away)
    code, output = selection.end()
    assert code == 1
    assert 'a worker stopped: 2 trainings in succession could not be done' in output
    page = (selection.work_dir / 'report.html').read_text()
    assert 'The selection has stopped: a worker stopped' in page
    assert 'The selection runs' not in page
    away.rename(data)
    same(selection.start('--resume'), undisturbed)


def test_a_worker_that_is_stopped_and_goes_on(tiny, tmp_path, undisturbed):
    """It is taken for dead meanwhile; nothing is lost, and nothing is trained twice."""
    pace = undisturbed.work_dir / 'pace.json'
    selection = Selection(tiny, tmp_path / 'run').start('--pace', pace)
    selection.wait_for(lambda: selection.results() >= 1)
    children = subprocess.run(
        ['pgrep', '-P', str(selection.process.pid), '-f', 'spawn_main'],
        capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    os.kill(int(children[0]), signal.SIGSTOP)
    time.sleep(SILENCE + 15)
    os.kill(int(children[0]), signal.SIGCONT)
    same(selection, undisturbed)


def test_a_disk_that_was_full(tiny, tmp_path, undisturbed):
    disk = tmp_path / 'disk'
    disk.mkdir()
    mounted = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', disk])
    if mounted.returncode:
        pytest.skip('no permission to mount a small disk')
    try:
        selection = Selection(tiny, disk / 'run')
        selection.start('--pace', undisturbed.work_dir / 'pace.json')
        selection.wait_for(lambda: selection.results() >= 1)
        with (disk / 'ballast').open('wb', buffering=0) as ballast, pytest.raises(OSError):
            while True:
                ballast.write(bytes(4096))
        code, output = selection.end()
        assert code == 1
        assert 'No space left' in output
        (disk / 'ballast').unlink()
        same(selection.start('--resume'), undisturbed)
    finally:
        subprocess.run(['umount', '-l', disk])
