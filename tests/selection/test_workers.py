import os
import signal
import time

import pytest
import torch

from dnas_mmseg.datasets import DatasetError
from dnas_mmseg.engine.checkpoints import CheckpointError
from dnas_mmseg.errors import UserError
from dnas_mmseg.files import FolderInUseError
from dnas_mmseg.raster import RasterError
from dnas_mmseg.selection import workers as worker
from dnas_mmseg.selection.queue import TrainingQueue
from dnas_mmseg.selection.workers import WorkerJob, Workers, default_workers


def _wait(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_killed_worker_is_replaced_and_exit_code_raises(plan, tmp_path):
    storage = str(tmp_path / 'trials.log')
    queue = TrainingQueue(storage, {})
    workers = Workers(plan, tmp_path, storage, 1)
    try:
        assert workers.ensure_running() == []
        ((job, process),) = workers._processes.values()
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert workers.ensure_running() == [job.name]
        # A training that cannot run fails; the worker continues.
        queue.request({'a-0-0': {'family': 'unknown', 'seed': 0}})
        _wait(lambda: 'a-0-0' in queue.outcomes())
        assert "family 'unknown' is not among the --families" in queue.outcomes()['a-0-0'].error
        (tmp_path / 'trials.log').unlink()
        ((job, process),) = workers._processes.values()
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        workers.ensure_running()  # the new worker fails without a queue
        ((job, process),) = workers._processes.values()
        process.join(60)
        with pytest.raises(UserError, match=r'a worker stopped: .*no selection to resume.*\.txt'):
            workers.ensure_running()
    finally:
        workers.stop()


@pytest.fixture
def worker_on(plan, tmp_path, monkeypatch):
    """Function that runs a worker in this process with a list of training results, until it stops.

    Results are scores or exceptions; a KeyboardInterrupt follows the last one.
    """
    storage = str(tmp_path / 'trials.log')

    def start(results):
        queue, results, pauses = TrainingQueue(storage, {}), iter(results), []

        class Trainings:
            def __init__(self, *_):
                pass

            def run(self, key, content):
                result = next(results, KeyboardInterrupt())
                queue.request({f'{key}+': {}})  # the queue never becomes empty
                if isinstance(result, BaseException):
                    raise result
                return result, {}

            def discard(self, key):
                pass

        monkeypatch.setattr(worker, 'CandidateTrainings', Trainings)
        monkeypatch.setattr(worker.time, 'sleep', pauses.append)
        queue.request({'a': {}})
        job = WorkerJob(plan, tmp_path, storage, 'w')
        try:
            worker._work(job)
        except BaseException as error:
            return queue, error, pauses
        raise AssertionError('the worker must end with an exception')

    return start


def test_a_worker_for_each_gpu(monkeypatch):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '0,2,3')
    assert default_workers() == 1  # torch sees none
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    assert default_workers() == 3
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES')
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    assert default_workers() == 2


FAULTS = (
    FileNotFoundError(2, 'No such file or directory', '/data/x.tif'),
    OSError(27, 'File too large'),
    RasterError('/data/x.tif: samples cannot be read'),
    DatasetError('data_root /data: no such folder'),
    CheckpointError('epoch_3.pth is not a checkpoint, or it is damaged'),
)


@pytest.mark.parametrize('fault', FAULTS, ids=lambda fault: type(fault).__name__)
def test_machine_faults_do_not_fail_a_candidate(worker_on, fault):
    """The worker pauses after a single fault, and stops after two consecutive ones."""
    queue, end, pauses = worker_on([fault, 61.0, fault, fault, 62.0])
    assert isinstance(end, UserError)
    assert str(end).startswith('2 consecutive trainings could not run on this machine')
    assert str(fault) in str(end)
    assert {key: outcome.score for key, outcome in queue.outcomes().items()} == {'a+': 61.0}
    assert pauses == [worker._PAUSE] * 2


@pytest.mark.parametrize('fault', [ValueError('mIoU is nan'), RuntimeError('out of memory')])
def test_other_errors_fail_a_candidate(worker_on, fault):
    queue, end, _ = worker_on([fault, fault, fault])
    assert isinstance(end, KeyboardInterrupt)
    assert [outcome.score for outcome in queue.outcomes().values()] == [None] * 3


def test_a_worker_ends_after_a_cuda_error(worker_on):
    """It could no longer use its GPU. The third such error fails the training."""
    error = RuntimeError('CUDA error: device-side assert triggered')
    queue, end, _ = worker_on([error, 61.0])
    assert isinstance(end, SystemExit)
    assert end.code == 0
    assert (queue.outcomes(), queue.running()) == ({}, {})
    assert queue.claim('other').key == 'a+'
    for _ in range(2):
        assert 'a' not in queue.outcomes()
        queue.request({'a': {}})
        queue.release_crashed(queue.claim('other'))
    assert '3 workers were killed' in queue.outcomes()['a'].error


def test_training_of_another_process_is_released(worker_on):
    queue, end, pauses = worker_on([FolderInUseError('in use')] * 4)
    assert isinstance(end, KeyboardInterrupt)
    assert (queue.outcomes(), len(pauses)) == ({}, 4)
