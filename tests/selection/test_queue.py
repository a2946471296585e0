"""Tests of the training queue with a journal, SQLite and PostgreSQL."""

import os
import shutil
import subprocess
import time

import pytest

from dnas_mmseg.selection import queue as study
from dnas_mmseg.selection.queue import StorageError, TrainingQueue


@pytest.fixture(params=['journal', 'sqlite'])
def storage(request, tmp_path):
    return (
        str(tmp_path / 'trials.log')
        if request.param == 'journal'
        else (f'sqlite:///{tmp_path}/trials.db')
    )


def test_training_is_queued_and_run_once(storage):
    first = TrainingQueue(storage, {'plan': 'p'})
    second = TrainingQueue(storage, {}, join=True)
    assert second.get_metadata('plan') == 'p'
    trainings = {'a': {'n': 1}, 'b': {'n': 2}}
    first.request(trainings)
    second.request(trainings)
    tasks = [first.claim('one'), second.claim('two')]
    assert [(t.key, t.content) for t in tasks] == [('a', {'n': 1}), ('b', {'n': 2})]
    assert first.claim('three') is None
    assert second.running() == {'a': 'one', 'b': 'two'}
    first.finish(tasks[0], 71.5, {'seconds': 3})
    second.fail(tasks[1], 'loss is NaN', {})
    for queue in (first, second):
        queue.request(trainings)
        assert queue.claim('one') is None
        outcomes = queue.outcomes()
        assert (outcomes['a'].score, outcomes['a'].metadata) == (71.5, {'seconds': 3})
        assert (outcomes['b'].score, outcomes['b'].error) == (None, 'loss is NaN')


def test_concurrent_requests_do_not_duplicate_a_training(storage):
    """Both processes see an empty queue before either one writes."""
    first, second = TrainingQueue(storage, {}), TrainingQueue(storage, {})
    trials = second._trials()
    first.request({'a': {}})
    second._trials = lambda: trials
    second.request({'a': {}})
    del second._trials
    assert first.claim('one').key == 'a'
    assert second.claim('two') is None


def test_released_and_lost_trainings_are_requeued(storage):
    queue = TrainingQueue(storage, {})
    queue.request({'a': {}})
    queue.release(queue.claim('one'))
    assert queue.outcomes() == {}
    queue.request({'a': {}})
    late = queue.claim('two')
    assert queue.release_lost() == []
    assert queue.release_lost({'two'}) == ['a']
    queue.request({'a': {}})
    queue.finish(queue.claim('three'), 70.0, {})
    # A worker that was considered dead and continues changes nothing.
    queue.send_heartbeat(late, 1)
    queue.finish(late, 10.0, {})
    assert queue.outcomes()['a'].score == 70.0


def test_training_fails_after_three_crashes(storage):
    queue = TrainingQueue(storage, {})
    for name in ('one', 'two'):
        queue.request({'a': {}})
        queue.claim(name)
        queue.release_lost({name})
    queue.request({'a': {}})
    queue.release_crashed(queue.claim('three'))
    assert '3 workers were killed' in queue.outcomes()['a'].error


def test_heartbeat_timeout_uses_the_monotonic_clock(storage, monkeypatch):
    queue, worker = TrainingQueue(storage, {}), TrainingQueue(storage, {})
    queue.request({'a': {}})
    task, now = worker.claim('one'), [0.0]
    step = study.HEARTBEAT_TIMEOUT * 0.4
    monkeypatch.setattr(time, 'monotonic', lambda: now[0])
    monkeypatch.setattr(time, 'time', lambda: 4e9)  # a wrong system clock
    assert queue.release_lost() == []
    for count in range(1, 5):
        for _ in range(2):
            now[0] += step
            assert queue.release_lost() == []
        worker.send_heartbeat(task, count)
    for _ in range(3):
        assert queue.release_lost() == []
        now[0] += step
    assert queue.release_lost() == ['a']


def test_suspended_process_does_not_consider_workers_dead(storage, monkeypatch):
    """After ^Z, SIGSTOP or an unavailable storage, heartbeats may have been missed."""
    queue = TrainingQueue(storage, {})
    keys = [str(i) for i in range(8)]
    queue.request({key: {} for key in keys})
    tasks = [queue.claim(f'worker {i}') for i in range(8)]
    now = [0.0]
    monkeypatch.setattr(time, 'monotonic', lambda: now[0])
    for _ in range(5):
        now[0] += study.HEARTBEAT_TIMEOUT * 0.3
        for count, task in enumerate(tasks):
            queue.send_heartbeat(task, count + int(now[0]))
        assert queue.release_lost() == []
    now[0] += 130 + study.HEARTBEAT_TIMEOUT
    assert queue.release_lost() == []
    now[0] += study.HEARTBEAT_TIMEOUT * 0.4
    assert queue.release_lost() == []
    assert len(queue.running()) == 8
    for _ in range(2):
        now[0] += study.HEARTBEAT_TIMEOUT * 0.4
        lost = queue.release_lost()
    assert lost == keys


def test_retry_failed(storage):
    queue = TrainingQueue(storage, {})
    queue.request({'a': {}, 'b': {}})
    queue.fail(queue.claim('one'), 'no such file', {})
    queue.finish(queue.claim('one'), 60.0, {})
    queue.request({'a': {}})
    assert queue.claim('one') is None
    assert queue.retry_failed() == ['a']
    assert set(queue.outcomes()) == {'b'}
    queue.request({'a': {}, 'b': {}})
    again = queue.claim('one')
    assert (again.key, queue.claim('two')) == ('a', None)
    queue.fail(again, 'NaN', {})
    assert queue.outcomes()['a'].error == 'NaN'
    for _ in range(3):
        queue.retry_failed()
        queue.request({'a': {}})
        queue.release_crashed(queue.claim('three'))
    queue.retry_failed()
    assert 'a' not in queue.outcomes()


@pytest.mark.parametrize('tail', [b'{"op_code": 4, "wor', b'\0' * 512, b'{"a": 1}\0\0'])
def test_journal_with_an_incomplete_last_line(tmp_path, tail):
    """A full disk or a power failure leaves such a line."""
    path = tmp_path / 'trials.log'
    queue = TrainingQueue(str(path), {'plan': 'p'})
    queue.request({'a': {}, 'b': {}})
    queue.finish(queue.claim('one'), 70.0, {})
    with path.open('ab') as file:
        file.write(tail)
    queue.set_metadata('pace', 1)  # by a process that already had it open
    again = TrainingQueue(str(path), {}, join=True)
    assert (again.get_metadata('plan'), again.get_metadata('pace')) == ('p', 1)
    assert again.outcomes()['a'].score == 70.0
    assert again.claim('two').key == 'b'
    with path.open('ab') as file:
        file.write(tail)
    assert TrainingQueue(str(path), {}, join=True).outcomes()['a'].score == 70.0


def test_stale_lock_in_a_relative_folder(tmp_path, monkeypatch):
    """Optuna compares the target of the lock with the path of the journal."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'W').mkdir()
    TrainingQueue('W/trials.log', {'plan': 'p'})
    os.symlink(tmp_path / 'W/trials.log', 'W/trials.log.lock')
    jumps = iter(range(0, 10**6, 20))
    monkeypatch.setattr(time, 'monotonic', lambda: next(jumps))
    assert TrainingQueue('W/trials.log', {}, join=True).get_metadata('plan') == 'p'
    assert not os.path.lexists('W/trials.log.lock')


def test_unavailable_storage_is_retried(storage, monkeypatch):
    queue = TrainingQueue(storage, {})
    calls = []

    def get_trials(**kwargs):
        calls.append(kwargs)
        if len(calls) < 4:
            raise OSError('connection lost')
        return []

    monkeypatch.setattr(time, 'sleep', lambda seconds: None)
    monkeypatch.setattr(queue._study, 'get_trials', get_trials)
    assert queue.outcomes() == {}
    assert len(calls) == 4


def test_storage_timeout(storage, monkeypatch):
    queue = TrainingQueue(storage, {})

    def get_trials(**kwargs):
        raise OSError('connection lost')

    now = [0.0]
    monkeypatch.setattr(time, 'monotonic', lambda: now[0])
    monkeypatch.setattr(time, 'sleep', lambda s: now.__setitem__(0, now[0] + s))
    monkeypatch.setattr(queue._study, 'get_trials', get_trials)
    with pytest.raises(StorageError, match=r'connection lost.*work dir contains all.*--resume'):
        queue.outcomes()
    assert now[0] > study.STORAGE_TIMEOUT


def test_full_disk_is_not_retried(storage, monkeypatch):
    queue = TrainingQueue(storage, {})

    def set_user_attr(*args):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(queue._study, 'set_user_attr', set_user_attr)
    with pytest.raises(StorageError, match='No space left'):
        queue.set_metadata('pace', 1)


def test_file_system_without_locks(tmp_path, monkeypatch):
    def symlink(*args, **kwargs):
        raise OSError(1, 'Operation not permitted')

    monkeypatch.setattr(os, 'symlink', symlink)
    with pytest.raises(StorageError, match='does not support locks'):
        TrainingQueue(str(tmp_path / 'trials.log'), {})


@pytest.mark.parametrize(
    ('storage', 'message'),
    [
        ('{}/none.log', 'no such file, so no selection to resume'),
        ('sqlite:///{}/empty.db', 'contains no selection to resume'),
    ],
)
def test_joining_requires_a_selection(storage, message, tmp_path):
    with pytest.raises(StorageError, match=message):
        TrainingQueue(storage.format(tmp_path), {}, join=True)


def test_unknown_database(tmp_path):
    with pytest.raises(StorageError, match='nonesuch'):
        TrainingQueue('nonesuch://host/name', {})


def test_postgresql(tmp_path):
    """Runs a real server, and stops it during the test."""
    server = shutil.which('pg_ctl')
    if server is None:
        pytest.skip('requires a PostgreSQL server (pg_ctl; Debian: apt-get install postgresql)')
    pytest.importorskip('psycopg', reason='requires psycopg: pip install psycopg[binary]')
    data = tmp_path / 'pg'
    as_user = ['setpriv', '--reuid=65534', '--clear-groups'] if os.getuid() == 0 else []
    data.mkdir()
    if as_user:  # the server refuses to run as root
        for folder in (data, *data.parents):
            if folder.owner() == 'root' and str(folder).startswith(str(tmp_path.parents[2])):
                os.chmod(folder, 0o755)
        os.chown(data, 65534, -1)

    def control(*command):
        subprocess.run([*as_user, *command], check=True, capture_output=True, timeout=60, cwd=data)

    initdb = shutil.which('initdb') or os.path.join(
        os.path.dirname(os.path.realpath(server)), 'initdb'
    )
    control(initdb, '-D', data / 'db', '-U', 'dnas', '--auth=trust', '--no-sync')
    socket = f"-c listen_addresses='' -k {data}"
    start = (server, '-D', data / 'db', '-o', socket, '-l', data / 'log', '-w', 'start')
    stop = (server, '-D', data / 'db', '-m', 'immediate', '-w', 'stop')
    control(*start)
    try:
        url = f'postgresql+psycopg://dnas@/postgres?host={data}'
        queue = TrainingQueue(url, {'plan': 'p'})
        other = TrainingQueue(url, {}, join=True)
        assert other.get_metadata('plan') == 'p'
        queue.request({'a': {}, 'b': {}})
        task = other.claim('one')
        control(*stop)
        # A server does not start while a process of the one before still ends.
        command = ' '.join(map(_quoted, [*as_user, *start]))
        restart = subprocess.Popen(
            ['sh', '-c', f'for i in 1 2 3 4 5 6 7 8; do sleep 1; {command} && break; done'],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        other.finish(task, 70.0, {})
        restart.wait(60)
        assert queue.outcomes()['a'].score == 70.0
        assert queue.claim('two').key == 'b'
    finally:
        control(*stop)


def _quoted(word):
    return "'" + str(word).replace("'", "'\\''") + "'"
