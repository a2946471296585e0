"""Worker processes that run the trainings of a selection."""

from __future__ import annotations

import errno
import gc
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess
from pathlib import Path

import torch
from mmengine.device import get_device

from dnas_mmseg.datasets import DatasetError, LabelError
from dnas_mmseg.datasets.tile_cache import keep_tiles
from dnas_mmseg.engine.checkpoints import CheckpointError
from dnas_mmseg.errors import UserError
from dnas_mmseg.files import FolderInUseError

from .candidates import CandidateSet
from .plan import SelectionPlan
from .queue import (
    HEARTBEAT_TIMEOUT,
    STORAGE_TIMEOUT,
    StorageError,
    Task,
    TrainingQueue,
)
from .trainings import TILE_MEMORY, CandidateTrainings, breaks_gpu

_POLL_INTERVAL = 0.5
"""Time between two requests to an empty queue, in seconds. Less burdens the storage, more leaves a
worker idle at the start of a batch."""

_LOADER_KILLED = 'DataLoader worker'
"""First words of the error of torch when a data loading process was killed."""

_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)

_MACHINE_FAULTS = (OSError, DatasetError, LabelError, CheckpointError)
"""Errors of files, disks and data. They do not fail a candidate."""

_MAX_FAULTS = 2
"""Consecutive machine faults after which a worker stops. One may be a short outage; a worker that
continued after a lasting one would try every training of the queue without success."""

_PAUSE = 30.0
"""Time before the next training after a machine fault, in seconds; a short outage may end."""


@dataclass(frozen=True)
class WorkerJob:
    """Arguments of a worker process.

    Attributes:
        plan: Settings of the selection.
        work_dir: Work dir of the selection on this machine.
        storage: Storage of the queue.
        name: Name of the worker.
    """

    plan: SelectionPlan
    work_dir: Path
    storage: str
    name: str

    @property
    def log(self) -> Path:
        """File of the worker's output."""
        return self.work_dir / 'workers' / f'{self.name}.txt'


class Workers:
    """The worker processes of a command.

    Worker ``i`` uses the visible GPU ``i`` modulo their number, by ``CUDA_VISIBLE_DEVICES``.

    Args:
        plan: Settings of the selection.
        work_dir: Work dir of the selection on this machine.
        storage: Storage of the queue.
        count: Number of processes.
    """

    def __init__(self, plan: SelectionPlan, work_dir: Path, storage: str, count: int) -> None:
        self._shared = plan, work_dir, storage
        self._gpus = _visible_gpus()
        self._context = multiprocessing.get_context('spawn')
        self._threads = plan.threads
        self._count, self._started = count, 0
        self._processes: dict[int, tuple[WorkerJob, SpawnProcess]] = {}

    def ensure_running(self) -> list[str]:
        """Start missing processes and replace killed ones.

        Returns:
            Names of the killed workers.

        Raises:
            UserError: A worker exited with an error; the message is the last line of its log.
        """
        dead = []
        for slot in range(self._count):
            if slot not in self._processes:
                self._start(slot)
            job, process = self._processes[slot]
            if process.is_alive():
                continue
            # Killed processes have negative exit codes; positive ones would fail again.
            if (process.exitcode or 0) > 0:
                log = job.log.read_text(encoding='utf-8').split('\n') if job.log.is_file() else []
                last = next((line for line in reversed(log) if line.strip()), 'no output')
                raise UserError(f'a worker stopped: {last} ({job.log})')
            dead.append(job.name)
            self._start(slot)
        return dead

    def stop(self) -> None:
        """Terminate all processes; each returns its training to the queue."""
        for _, process in self._processes.values():
            process.terminate()
        for _, process in self._processes.values():
            process.join(20)
            if process.is_alive():
                process.kill()
        self._processes.clear()

    def _start(self, slot: int) -> None:
        self._started += 1
        name = f'{socket.gethostname()}-{os.getpid()}-{self._started}'
        job = WorkerJob(*self._shared, name)
        environment = {'OMP_NUM_THREADS': str(self._threads)}
        if self._gpus:
            environment['CUDA_VISIBLE_DEVICES'] = self._gpus[slot % len(self._gpus)]
        process = self._context.Process(target=work, args=(job,), name=name)
        with _environment(environment):  # torch reads it when the process imports it
            process.start()
        self._processes[slot] = job, process


def default_workers() -> int:
    """Return the default number of parallel trainings: one per visible GPU, at least one."""
    return max(1, len(_visible_gpus())) if torch.cuda.is_available() else 1


def interrupt_on(*signals: int) -> None:
    """Raise KeyboardInterrupt at the first of these signals, and ignore later ones.

    A batch system that cancels a job sends SIGTERM to all of its processes, possibly repeatedly.
    """

    def interrupt(*_: object) -> None:
        for number in signals:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in signals:
        signal.signal(number, interrupt)


def work(job: WorkerJob) -> None:
    """Run trainings of the queue until the process is terminated or its parent exits."""
    interrupt_on(signal.SIGTERM, signal.SIGINT)
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open('a', encoding='utf-8', buffering=1) as log:
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
        try:
            _work(job)
        except KeyboardInterrupt:
            sys.exit(0)
        except (UserError, OSError) as error:
            print(error, flush=True)
            sys.exit(1)


def _work(job: WorkerJob) -> None:
    torch.set_num_threads(job.plan.threads)
    trainings = CandidateTrainings(CandidateSet(job.plan), job.work_dir)
    if get_device() == 'cpu':  # elsewhere, the loaders' processes would keep tiles
        keep_tiles(TILE_MEMORY)
    gc.freeze()  # every training collects garbage several times, 0.2 s each with all modules
    queue = TrainingQueue(job.storage, {}, join=True, timeout=STORAGE_TIMEOUT)
    parent = multiprocessing.parent_process()
    faults = 0
    while parent is None or parent.is_alive():
        task = queue.claim(job.name)
        if task is None:
            time.sleep(_POLL_INTERVAL)
            continue
        with _heartbeats(queue, task):
            fault = _train(queue, task, trainings)
        if fault is None:
            faults = 0
            continue
        print(f'{task.key} returns to the queue: {fault}', flush=True)
        faults += not isinstance(fault, FolderInUseError)
        if faults >= _MAX_FAULTS:
            raise UserError(
                f'{faults} consecutive trainings could not run on this machine; the last error: '
                f'{" ".join(str(fault).split())}'
            )
        time.sleep(_PAUSE)


def _train(queue: TrainingQueue, task: Task, trainings: CandidateTrainings) -> Exception | None:
    """Run a training and store its outcome.

    Returns:
        Fault of the machine or its data, after which the training is back in the queue; or None.

    Raises:
        OSError: The disk is full.
        StorageError: The storage is unavailable.
        SystemExit: The process can no longer use its GPU; another one replaces it.
    """
    began = time.monotonic()
    try:
        score, metadata = trainings.run(task.key, task.content)
    except KeyboardInterrupt:
        queue.release(task)
        raise
    except Exception as error:
        if isinstance(error, StorageError) or getattr(error, 'errno', None) in _FULL_DISK:
            queue.release(task)
            raise
        if isinstance(error, (FolderInUseError, *_MACHINE_FAULTS)):
            queue.release(task)
            return error
        if str(error).startswith(_LOADER_KILLED):
            _release_crashed(queue, task)
            return None
        if breaks_gpu(error):
            print(f'{task.key} returns to the queue, and this worker ends: {error}', flush=True)
            queue.release_crashed(task)
            sys.exit(0)
        trainings.discard(task.key)
        reason = f'{type(error).__name__}: {" ".join(str(error).split())[:300]}'
        queue.fail(task, reason, {'seconds': round(time.monotonic() - began, 1)})
    else:
        queue.finish(task, score, metadata)
    return None


def _release_crashed(queue: TrainingQueue, task: Task) -> None:
    """Return a training to the queue after one of its data loading processes was killed."""
    try:
        time.sleep(1)  # a cancelled job terminates this process, too: not a crash
    except KeyboardInterrupt:
        queue.release(task)
        raise
    queue.release_crashed(task)


@contextmanager
def _heartbeats(queue: TrainingQueue, task: Task) -> Iterator[None]:
    """Send heartbeats while the block runs."""
    ended = threading.Event()

    def send() -> None:
        count = 0
        while not ended.wait(HEARTBEAT_TIMEOUT / 6):
            count += 1
            queue.send_heartbeat(task, count)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _visible_gpus() -> list[str]:
    """Return the GPUs available to this process, in the notation of ``CUDA_VISIBLE_DEVICES``."""
    visible = os.environ.get('CUDA_VISIBLE_DEVICES')
    if visible is not None:
        return [name for name in visible.split(',') if name]
    return [str(i) for i in range(torch.cuda.device_count())]


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables while the block runs."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
