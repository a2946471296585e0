"""Processes that do trainings."""

import os
import signal
import time

import pytest

from dnas_mmseg.datasets import DatasetError
from dnas_mmseg.engine.checkpoints import CheckpointError
from dnas_mmseg.errors import UserError
from dnas_mmseg.files import FolderInUseError
from dnas_mmseg.raster import RasterError
from dnas_mmseg.search.halving import worker
from dnas_mmseg.search.halving.worker import WorkerJob, Workers
from dnas_mmseg.search.selection.study import TrainingQueue


def _wait(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_killed_worker_is_replaced_and_one_that_stops_by_itself_is_told_of(plan, tmp_path):
    storage = str(tmp_path / 'trials.log')
    queue = TrainingQueue(storage, {})
    workers = Workers(plan, tmp_path, storage, (tmp_path / 'a.txt', tmp_path / 'b.txt'), 1)
    try:
        assert workers.keep_working() == []
        ((job, process),) = workers._processes.values()
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert workers.keep_working() == [job.name]
        # What cannot be trained has failed; the worker goes on.
        queue.request({'a-0-0': {'baseline': 'unknown'}})
        _wait(lambda: 'a-0-0' in queue.outcomes())
        assert "baseline 'unknown' is not among" in queue.outcomes()['a-0-0'].error
        (tmp_path / 'trials.log').unlink()
        ((job, process),) = workers._processes.values()
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        workers.keep_working()  # the new one finds no queue
        ((job, process),) = workers._processes.values()
        process.join(60)
        with pytest.raises(
            UserError, match=r'a worker stopped: .*no selection to go on with.*\.txt'
        ):
            workers.keep_working()
    finally:
        workers.stop()


@pytest.fixture
def worker_on(plan, tmp_path, monkeypatch):
    """Runs a worker in this process on trainings that end as a list says, until it stops."""
    storage = str(tmp_path / 'trials.log')

    def start(ends):
        queue, ends, pauses = TrainingQueue(storage, {}), iter(ends), []

        class Trainings:
            def __init__(self, *_):
                pass

            def run(self, key, content):
                end = next(ends, KeyboardInterrupt())
                queue.request({f'{key}+': {}})  # there is always more to do
                if isinstance(end, BaseException):
                    raise end
                return end, {}

            def discard(self, key):
                pass

        monkeypatch.setattr(worker, 'CandidateTrainings', Trainings)
        monkeypatch.setattr(worker.time, 'sleep', pauses.append)
        queue.request({'a': {}})
        job = WorkerJob(plan, tmp_path, storage, (tmp_path / 'a', tmp_path / 'b'), 'w')
        try:
            worker._work(job)
        except BaseException as error:
            return queue, error, pauses
        raise AssertionError('it never ends by itself')

    return start


FAULTS = (
    FileNotFoundError(2, 'No such file or directory', '/data/x.tif'),
    OSError(27, 'File too large'),
    RasterError('/data/x.tif: samples cannot be read'),
    DatasetError('data_root /data: no such folder'),
    CheckpointError('epoch_3.pth is no checkpoint, or a damaged one'),
)


@pytest.mark.parametrize('fault', FAULTS, ids=lambda fault: type(fault).__name__)
def test_a_fault_of_the_machine_is_no_fault_of_a_candidate(worker_on, fault):
    """Data that are away for a while cost a pause; data that stay away stop the worker."""
    queue, end, pauses = worker_on([fault, 61.0, fault, fault, 62.0])
    assert isinstance(end, UserError)
    assert str(end).startswith('2 trainings in succession could not be done on this machine')
    assert str(fault) in str(end)
    assert {key: outcome.score for key, outcome in queue.outcomes().items()} == {'a+': 61.0}
    assert pauses == [worker._PAUSE] * 2


@pytest.mark.parametrize('fault', [ValueError('mIoU is nan'), RuntimeError('out of memory')])
def test_a_fault_of_a_candidate_is(worker_on, fault):
    queue, end, _ = worker_on([fault, fault, fault])
    assert isinstance(end, KeyboardInterrupt)
    assert [outcome.score for outcome in queue.outcomes().values()] == [None] * 3


def test_a_training_that_another_process_is_at_is_given_back(worker_on):
    queue, end, pauses = worker_on([FolderInUseError('in use')] * 4)
    assert isinstance(end, KeyboardInterrupt)
    assert (queue.outcomes(), len(pauses)) == ({}, 4)
