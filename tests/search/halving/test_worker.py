"""Processes that do trainings."""

import os
import signal
import time

import pytest

from dnas_mmseg.errors import UserError
from dnas_mmseg.search.halving.worker import Workers
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
        queue.request({'a-0-0': {'rival': 'unknown'}})
        _wait(lambda: 'a-0-0' in queue.outcomes())
        assert "rival 'unknown' is not among" in queue.outcomes()['a-0-0'].error
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
