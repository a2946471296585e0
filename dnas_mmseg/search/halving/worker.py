"""Processes that do the trainings of a selection, one after another."""

from __future__ import annotations

import errno
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
from mmengine.registry import init_default_scope

from dnas_mmseg.datasets import DatasetError, LabelError
from dnas_mmseg.engine.checkpoints import CheckpointError
from dnas_mmseg.errors import UserError
from dnas_mmseg.files import FolderInUseError
from dnas_mmseg.search.selection.study import (
    PATIENCE,
    SILENCE,
    StorageError,
    Task,
    TrainingQueue,
)

from .networks import Baseline
from .plan import SelectionPlan
from .training import CandidateTrainings

_POLL = 0.5
"""Time between two looks at an empty queue, in seconds."""

_LOADER_GONE = 'DataLoader worker'
"""What torch's errors begin with when a process that loads data was killed."""

_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)

_FAULTS_OF_MACHINES = (OSError, DatasetError, LabelError, CheckpointError)
"""What says nothing about a candidate: files, disks and data, which raise errors of these kinds."""

_FAULTS = 2
"""Faults in succession after which a worker stops: it would take every training in vain."""

_PAUSE = 30.0
"""Time after a fault before the next training, in seconds; an outage may be over then."""


@dataclass(frozen=True)
class WorkerJob:
    """What a worker process needs to know.

    Attributes:
        plan: Settings of the selection.
        work_dir: Folder of the selection on this machine.
        storage: Storage of the queue.
        lists: Lists to train on and to score on.
        name: Name of the worker.
    """

    plan: SelectionPlan
    work_dir: Path
    storage: str
    lists: tuple[Path, Path]
    name: str

    @property
    def log(self) -> Path:
        """File of what the worker prints."""
        return self.work_dir / 'workers' / f'{self.name}.txt'


class Workers:
    """The worker processes of this command.

    They are started when there is work, and again when they are killed. A GPU is given to each, in
    turn, by ``CUDA_VISIBLE_DEVICES``.

    Args:
        plan: Settings of the selection.
        work_dir: Folder of the selection on this machine.
        storage: Storage of the queue.
        lists: Lists to train on and to score on.
        count: Number of processes.
    """

    def __init__(
        self,
        plan: SelectionPlan,
        work_dir: Path,
        storage: str,
        lists: tuple[Path, Path],
        count: int,
    ) -> None:
        self._shared = plan, work_dir, storage, lists
        self._gpus = _visible_gpus()
        self._context = multiprocessing.get_context('spawn')
        self._threads = plan.threads
        self._count, self._started = count, 0
        self._processes: dict[int, tuple[WorkerJob, SpawnProcess]] = {}

    def keep_working(self) -> list[str]:
        """Start the processes, and others in place of those that have ended.

        Returns:
            Names of those that have ended.

        Raises:
            UserError: A worker stopped by itself; the message is the last line of its log.
        """
        dead = []
        for slot in range(self._count):
            if slot not in self._processes:
                self._start(slot)
            job, process = self._processes[slot]
            if process.is_alive():
                continue
            # Killed ones have negative codes; one that stopped by itself would stop again.
            if (process.exitcode or 0) > 0:
                said = job.log.read_text(encoding='utf-8').split('\n') if job.log.is_file() else []
                last = next((line for line in reversed(said) if line.strip()), 'said nothing')
                raise UserError(f'a worker stopped: {last} ({job.log})')
            dead.append(job.name)
            self._start(slot)
        return dead

    def stop(self) -> None:
        """End all processes; each gives back the training that it is at."""
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
        with _environment(environment):  # read when torch is imported there
            process.start()
        self._processes[slot] = job, process


def interrupt_on(*signals: int) -> None:
    """Let signals stop this process as ^C does, the first of them; the others are ignored then.

    A batch system that ends a job sends SIGTERM to all of its processes, and may do so repeatedly.
    """

    def interrupt(*_: object) -> None:
        for number in signals:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in signals:
        signal.signal(number, interrupt)


def work(job: WorkerJob) -> None:
    """Take trainings from the queue until the process is ended, or its parent is gone."""
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
    init_default_scope('mmseg')
    baselines = [Baseline(Path(path).stem, path) for path in job.plan.baselines]
    trainings = CandidateTrainings(job.plan, baselines, job.work_dir, job.lists)
    queue = TrainingQueue(job.storage, {}, join=True, patience=PATIENCE)
    parent = multiprocessing.parent_process()
    faults = 0
    while parent is None or parent.is_alive():
        task = queue.claim(job.name)
        if task is None:
            time.sleep(_POLL)
            continue
        with _signs_of_life(queue, task):
            fault = _train(queue, task, trainings)
        if fault is None:
            faults = 0
            continue
        print(f'{task.key} returns to the queue: {fault}', flush=True)
        faults += not isinstance(fault, FolderInUseError)
        if faults >= _FAULTS:
            raise UserError(
                f'{faults} trainings in succession could not be done on this machine, the last: '
                f'{" ".join(str(fault).split())}'
            )
        time.sleep(_PAUSE)


def _train(queue: TrainingQueue, task: Task, trainings: CandidateTrainings) -> Exception | None:
    """Do a training and keep its outcome, whatever it is.

    Returns:
        Fault of the machine or of its data that returned the training to the queue, if any.

    Raises:
        OSError: The disk is full; that is no fault of the candidate.
        StorageError: The storage cannot be used any more.
    """
    began = time.monotonic()
    try:
        score, facts = trainings.run(task.key, task.content)
    except KeyboardInterrupt:
        queue.release(task)
        raise
    except Exception as error:
        if isinstance(error, StorageError) or getattr(error, 'errno', None) in _FULL_DISK:
            queue.release(task)
            raise
        if isinstance(error, (FolderInUseError, *_FAULTS_OF_MACHINES)):
            queue.release(task)
            return error
        if str(error).startswith(_LOADER_GONE):
            _lose(queue, task)
            return None
        trainings.discard(task.key)
        reason = f'{type(error).__name__}: {" ".join(str(error).split())[:300]}'
        queue.fail(task, reason, {'seconds': round(time.monotonic() - began, 1)})
    else:
        queue.finish(task, score, facts)
    return None


def _lose(queue: TrainingQueue, task: Task) -> None:
    """Give back a training of which a loading process was killed; that is no fault of its own."""
    try:
        time.sleep(1)  # whoever ends a whole job ends this process too
    except KeyboardInterrupt:
        queue.release(task)
        raise
    queue.lose(task)


@contextmanager
def _signs_of_life(queue: TrainingQueue, task: Task) -> Iterator[None]:
    """Show that the worker is alive as long as the block runs."""
    ended = threading.Event()

    def show() -> None:
        count = 0
        while not ended.wait(SILENCE / 6):
            count += 1
            queue.show_life(task, count)

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _visible_gpus() -> list[str]:
    """Return the GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    given = os.environ.get('CUDA_VISIBLE_DEVICES')
    if given is not None:
        return [name for name in given.split(',') if name]
    return [str(i) for i in range(torch.cuda.device_count())]


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
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
