"""The durable queue of trainings: shared, resumed, killed, in files and in databases."""

import os
import shutil
import subprocess
import time

import pytest

from dnas_mmseg.search.selection import study
from dnas_mmseg.search.selection.study import StorageError, TrainingQueue


@pytest.fixture(params=['journal', 'sqlite'])
def storage(request, tmp_path):
    return (
        str(tmp_path / 'trials.log')
        if request.param == 'journal'
        else (f'sqlite:///{tmp_path}/trials.db')
    )


def test_a_training_is_queued_once_and_done_once(storage):
    first = TrainingQueue(storage, {'plan': 'p'})
    second = TrainingQueue(storage, {}, join=True)
    assert second.get_metadata('plan') == 'p'
    wanted = {'a': {'n': 1}, 'b': {'n': 2}}
    first.request(wanted)
    second.request(wanted)
    tasks = [first.claim('one'), second.claim('two')]
    assert [(t.key, t.content) for t in tasks] == [('a', {'n': 1}), ('b', {'n': 2})]
    assert first.claim('three') is None
    assert second.running() == {'a': 'one', 'b': 'two'}
    first.finish(tasks[0], 71.5, {'seconds': 3})
    second.fail(tasks[1], 'loss is NaN', {})
    for queue in (first, second):
        queue.request(wanted)
        assert queue.claim('one') is None
        outcomes = queue.outcomes()
        assert (outcomes['a'].score, outcomes['a'].facts) == (71.5, {'seconds': 3})
        assert (outcomes['b'].score, outcomes['b'].error) == (None, 'loss is NaN')
        assert queue.trainings() == {key: (wanted[key], outcomes[key]) for key in wanted}


def test_two_who_queue_the_same_do_not_double_it(storage):
    """Each sees an empty queue before either has written."""
    first, second = TrainingQueue(storage, {}), TrainingQueue(storage, {})
    trials = second._trials()
    first.request({'a': {}})
    second._trials = lambda: trials
    second.request({'a': {}})
    del second._trials
    assert first.claim('one').key == 'a'
    assert second.claim('two') is None


def test_what_a_worker_gives_back_or_takes_with_it_is_trained_again(storage):
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
    # One that was taken for dead and comes back does no harm.
    queue.show_life(late, 1)
    queue.finish(late, 10.0, {})
    assert queue.outcomes()['a'].score == 70.0


def test_a_training_that_takes_its_workers_with_it_has_failed(storage):
    queue = TrainingQueue(storage, {})
    for name in ('one', 'two'):
        queue.request({'a': {}})
        queue.claim(name)
        queue.release_lost({name})
    queue.request({'a': {}})
    queue.lose(queue.claim('three'))  # only its loading process was killed
    assert '3 workers were killed' in queue.outcomes()['a'].error


def test_a_silent_worker_is_taken_for_dead_by_ones_own_clock(storage, monkeypatch):
    queue, worker = TrainingQueue(storage, {}), TrainingQueue(storage, {})
    queue.request({'a': {}})
    task, now = worker.claim('one'), [0.0]
    step = study.SILENCE * 0.4
    monkeypatch.setattr(time, 'monotonic', lambda: now[0])
    monkeypatch.setattr(time, 'time', lambda: 4e9)  # a clock that jumped
    assert queue.release_lost() == []
    for count in range(1, 5):
        for _ in range(2):
            now[0] += step
            assert queue.release_lost() == []
        worker.show_life(task, count)
    for _ in range(3):
        assert queue.release_lost() == []
        now[0] += step
    assert queue.release_lost() == ['a']


def test_a_watcher_that_was_away_itself_knows_nothing_of_workers(storage, monkeypatch):
    """^Z, SIGSTOP, or a storage that did not answer: its workers could not show themselves."""
    queue = TrainingQueue(storage, {})
    keys = [str(i) for i in range(8)]
    queue.request({key: {} for key in keys})
    tasks = [queue.claim(f'worker {i}') for i in range(8)]
    now = [0.0]
    monkeypatch.setattr(time, 'monotonic', lambda: now[0])
    for _ in range(5):
        now[0] += study.SILENCE * 0.3
        for count, task in enumerate(tasks):
            queue.show_life(task, count + int(now[0]))
        assert queue.release_lost() == []
    now[0] += 130 + study.SILENCE
    assert queue.release_lost() == []
    now[0] += study.SILENCE * 0.4
    assert queue.release_lost() == []
    assert len(queue.running()) == 8
    for _ in range(2):
        now[0] += study.SILENCE * 0.4
        lost = queue.release_lost()
    assert lost == keys  # they are dead after all


def test_failed_trainings_are_tried_again_when_asked_for(storage):
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
        queue.lose(queue.claim('three'))
    queue.retry_failed()
    assert 'a' not in queue.outcomes()


@pytest.mark.parametrize('tail', [b'{"op_code": 4, "wor', b'\0' * 512, b'{"a": 1}\0\0'])
def test_a_journal_that_was_cut_off_goes_on(tmp_path, tail):
    """By a full disk or a loss of power, within its last line."""
    path = tmp_path / 'trials.log'
    queue = TrainingQueue(str(path), {'plan': 'p'})
    queue.request({'a': {}, 'b': {}})
    queue.finish(queue.claim('one'), 70.0, {})
    with path.open('ab') as file:
        file.write(tail)
    queue.set_metadata('pace', 1)  # of who had it open
    again = TrainingQueue(str(path), {}, join=True)
    assert (again.get_metadata('plan'), again.get_metadata('pace')) == ('p', 1)
    assert again.outcomes()['a'].score == 70.0
    assert again.claim('two').key == 'b'
    with path.open('ab') as file:
        file.write(tail)
    assert TrainingQueue(str(path), {}, join=True).outcomes()['a'].score == 70.0


def test_a_lock_that_somebody_left_in_a_relative_folder_is_taken_over(tmp_path, monkeypatch):
    """Optuna looks at what the lock points to, and went round without end."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'W').mkdir()
    TrainingQueue('W/trials.log', {'plan': 'p'})
    os.symlink(tmp_path / 'W/trials.log', 'W/trials.log.lock')
    jumps = iter(range(0, 10**6, 20))
    monkeypatch.setattr(time, 'monotonic', lambda: next(jumps))
    assert TrainingQueue('W/trials.log', {}, join=True).get_metadata('plan') == 'p'
    assert not os.path.lexists('W/trials.log.lock')


def test_a_storage_that_comes_back_is_waited_for(storage, monkeypatch):
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


def test_a_storage_that_stays_away_is_told_of(storage, monkeypatch):
    queue = TrainingQueue(storage, {})

    def get_trials(**kwargs):
        raise OSError('connection lost')

    now = [0.0]
    monkeypatch.setattr(time, 'monotonic', lambda: now[0])
    monkeypatch.setattr(time, 'sleep', lambda s: now.__setitem__(0, now[0] + s))
    monkeypatch.setattr(queue._study, 'get_trials', get_trials)
    with pytest.raises(StorageError, match=r'connection lost.*kept in the work dir.*--resume'):
        queue.outcomes()
    assert now[0] > study.PATIENCE


def test_a_full_disk_is_not_waited_for(storage, monkeypatch):
    queue = TrainingQueue(storage, {})

    def set_user_attr(*args):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(queue._study, 'set_user_attr', set_user_attr)
    with pytest.raises(StorageError, match='No space left'):
        queue.set_metadata('pace', 1)


def test_files_without_locks_are_refused(tmp_path, monkeypatch):
    def symlink(*args, **kwargs):
        raise OSError(1, 'Operation not permitted')

    monkeypatch.setattr(os, 'symlink', symlink)
    with pytest.raises(StorageError, match='cannot lock files'):
        TrainingQueue(str(tmp_path / 'trials.log'), {})


@pytest.mark.parametrize(
    ('storage', 'message'),
    [
        ('{}/none.log', 'no such file, so no selection to go on with'),
        ('sqlite:///{}/empty.db', 'holds no selection to go on with'),
    ],
)
def test_there_must_be_something_to_join(storage, message, tmp_path):
    with pytest.raises(StorageError, match=message):
        TrainingQueue(storage.format(tmp_path), {}, join=True)


def test_an_unknown_database_is_told_of(tmp_path):
    with pytest.raises(StorageError, match='nonesuch'):
        TrainingQueue('nonesuch://host/name', {})


def test_postgresql(tmp_path):
    """A real server, which is stopped for a while in between."""
    server = shutil.which('pg_ctl')
    if server is None:
        pytest.skip('no PostgreSQL server here (pg_ctl; Debian: apt-get install postgresql)')
    pytest.importorskip('psycopg', reason='no psycopg here: pip install psycopg[binary]')
    data = tmp_path / 'pg'
    as_user = ['setpriv', '--reuid=65534', '--clear-groups'] if os.getuid() == 0 else []
    data.mkdir()
    if as_user:  # it does not run as root
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
        restart = subprocess.Popen(
            ['sh', '-c', f'sleep 1; exec {" ".join(map(_quoted, [*as_user, *start]))}'],
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
