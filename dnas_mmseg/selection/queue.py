"""Persistent queue of trainings, shared by processes and machines.

The queue is an Optuna study. Each training is one of its trials: waiting, running, complete with a
score, or failed. A failed trial without an error message was interrupted and is requeued. A running
worker increments a heartbeat counter. Other processes consider it dead if the counter does not
change for ``HEARTBEAT_TIMEOUT`` of their own monotonic clocks, so clocks need not be synchronised.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import optuna
from optuna.exceptions import (
    DuplicatedStudyError,
    ExperimentalWarning,
    StorageInternalError,
    UpdateFinishedTrialError,
)
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import (
    JournalFileBackend,
    JournalFileOpenLock,
    JournalFileSymlinkLock,
)
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from dnas_mmseg.errors import UserError

Result = TypeVar('Result')

HEARTBEAT_TIMEOUT = 120.0
"""Time without a heartbeat after which a worker is considered dead, in seconds. It is six heartbeat
intervals: a shorter time would requeue trainings of workers on a busy machine or storage, a longer
one delays the trainings of dead workers."""

STORAGE_TIMEOUT = 600.0
"""Time for which requests to an unavailable storage are retried, in seconds. It is long enough for
the restart of a database server."""

_CHUNK = 2**16
"""Bytes of a journal read at a time, from its end; longer than its usual lines."""

_MAX_CRASHES = 3
"""Number of killed workers after which a training fails. One or two may have been killed for
another reason; without a limit, a training that exceeds the memory would be requeued forever."""

_STUDY = 'dnas_mmseg'
_HINT = '(--storage must be that of the selection)'
_UNAVAILABLE = (StorageInternalError, SQLAlchemyError, OSError)
_NOT_RETRIED = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
"""Errors of files that a user must solve."""

optuna.logging.set_verbosity(optuna.logging.WARNING)


def public_name(storage: str) -> str:
    """Return the name of a storage for messages and reports: an URL without its password."""
    if '://' not in storage:
        return storage
    try:
        return make_url(storage).render_as_string(hide_password=True)
    except ArgumentError:
        return re.sub(r'(://[^:@/]*):[^@]*@', r'\1:***@', storage)


class StorageError(UserError):
    """A storage that cannot be used, or contains another selection."""


@dataclass(frozen=True)
class Task:
    """A training claimed by a worker.

    Attributes:
        key: Unique name of the training.
        content: Description of the training, a JSON object.
        trial: Trial of the study.
    """

    key: str
    content: Mapping[str, Any]
    trial: optuna.Trial


@dataclass(frozen=True)
class Outcome:
    """Outcome of a training.

    Attributes:
        score: Score; None if the training failed.
        error: Error message of a failed training.
        metadata: Duration, device and other properties reported by the worker, by name.
    """

    score: float | None
    error: str = ''
    metadata: Mapping[str, Any] = field(default_factory=dict)


class TrainingQueue:
    """A persistent queue of trainings.

    Args:
        storage: Path of a journal file, or SQLAlchemy URL of a database.
        metadata: Values to store with the queue, by name; existing ones are not overwritten.
        join: Whether the queue must exist.
        timeout: Time for which opening an unavailable storage is retried, in seconds.

    Raises:
        StorageError: The storage cannot be used, contains another selection, or does not exist.
    """

    def __init__(
        self,
        storage: str,
        metadata: Mapping[str, str],
        join: bool = False,
        timeout: float = 10.0,  # short, as a storage that a user enters may be misspelled
    ) -> None:
        self.storage = public_name(storage)
        self._heartbeats: dict[int, tuple[int, float]] = {}
        self._last_check: float | None = None
        if join and '://' not in storage and not Path(storage).is_file():
            raise StorageError(f'{storage}: no such file, so no selection to resume {_HINT}')
        self._study = self._retry(lambda: _open(storage, join), timeout)
        stored = self._retry(lambda: dict(self._study.user_attrs))
        for name, value in metadata.items():
            if name not in stored:
                self.set_metadata(name, value)

    def get_metadata(self, name: str) -> Any:
        """Return a value stored with the queue; None if there is no such name."""
        return self._retry(lambda: self._study.user_attrs).get(name)

    def set_metadata(self, name: str, value: Any) -> None:
        """Store a JSON-serialisable value with the queue."""
        self._retry(lambda: self._study.set_user_attr(name, value))

    def request(self, trainings: Mapping[str, Mapping[str, Any]]) -> None:
        """Queue trainings, except those that are waiting, running or finished.

        Args:
            trainings: Descriptions of the trainings (``Task.content``), by key.
        """
        retried = self._retried
        present = {t.user_attrs.get('key') for t in self._trials() if not _is_void(t, retried)}
        for key, content in trainings.items():
            if key not in present:
                attributes = {'key': key, 'content': dict(content)}
                self._retry(partial(self._study.enqueue_trial, {}, user_attrs=attributes))

    def outcomes(self) -> dict[str, Outcome]:
        """Return the outcomes of the finished trainings, by key."""
        found: dict[str, Outcome] = {}
        crashes: dict[str, int] = {}
        retried = self._retried
        for trial in self._trials():
            key = trial.user_attrs.get('key', '')
            metadata = trial.user_attrs.get('facts', {})
            if trial.state == TrialState.COMPLETE:
                found.setdefault(key, Outcome(trial.value, metadata=metadata))
            elif trial.state != TrialState.FAIL or trial.number in retried:
                continue
            elif 'error' in trial.user_attrs:
                found.setdefault(key, Outcome(None, trial.user_attrs['error'], metadata))
            elif not {'duplicate', 'released'} & set(trial.user_attrs):
                crashes[key] = crashes.get(key, 0) + 1
        for key, count in crashes.items():
            if count >= _MAX_CRASHES:
                error = (
                    f'{count} workers were killed during this training (memory or a CUDA error?)'
                )
                found.setdefault(key, Outcome(None, error))
        return found

    def retry_failed(self) -> list[str]:
        """Discard the failed trainings, so that they can be requested again.

        Returns:
            Their keys.
        """
        failed = {key for key, outcome in self.outcomes().items() if outcome.score is None}
        trials = [
            trial
            for trial in self._trials()
            if trial.state == TrialState.FAIL and trial.user_attrs.get('key') in failed
        ]
        self.set_metadata('retried', sorted(self._retried | {trial.number for trial in trials}))
        return sorted(failed)

    @property
    def _retried(self) -> set[int]:
        """Numbers of the discarded failed trials."""
        return set(self.get_metadata('retried') or ())

    def running(self) -> dict[str, str]:
        """Return the worker names of the running trainings, by key."""
        return {
            trial.user_attrs.get('key', ''): trial.user_attrs.get('worker', '')
            for trial in self._trials()
            if trial.state == TrialState.RUNNING
        }

    def claim(self, worker: str) -> Task | None:
        """Return a waiting training and mark it as running; None if none is waiting.

        Args:
            worker: Unique name of the worker.
        """
        while any(trial.state == TrialState.WAITING for trial in self._trials()):
            trial = self._retry(self._study.ask)
            key = trial.user_attrs.get('key')
            retried = self._retried
            others = [
                other
                for other in self._trials()
                if other.user_attrs.get('key') == key
                and other.number < trial.number
                and not _is_void(other, retried)
            ]
            # ``ask`` made a new trial as none was left, or two processes queued the same training.
            if key is None or others:
                self._finish(trial, {'duplicate': True}, state=TrialState.FAIL)
                continue
            self._set(trial, 'worker', worker)
            return Task(key, trial.user_attrs['content'], trial)
        return None

    def send_heartbeat(self, task: Task, count: int) -> None:
        """Update the heartbeat counter of a running training."""
        with suppress(UpdateFinishedTrialError):  # another process considered the worker dead
            self._set(task.trial, 'signs', count)

    def finish(self, task: Task, score: float, metadata: Mapping[str, Any]) -> None:
        """Store the score of a training."""
        self._finish(task.trial, {'facts': dict(metadata)}, values=score)

    def fail(self, task: Task, error: str, metadata: Mapping[str, Any]) -> None:
        """Store the error of a training; it is not retried."""
        attributes = {'facts': dict(metadata), 'error': error}
        self._finish(task.trial, attributes, state=TrialState.FAIL)

    def release(self, task: Task) -> None:
        """Return an unfinished training to the queue."""
        self._finish(task.trial, {'released': True}, state=TrialState.FAIL)

    def release_crashed(self, task: Task) -> None:
        """Return a crashed training to the queue; the crash of number ``_MAX_CRASHES`` fails it."""
        self._tell(task.trial.number, state=TrialState.FAIL)

    def release_lost(self, dead: Collection[str] = ()) -> list[str]:
        """Return the trainings of dead workers to the queue.

        Args:
            dead: Names of workers known to be dead, whatever their heartbeats.

        Returns:
            Keys of the trainings.
        """
        trials, now, lost = self._trials(), time.monotonic(), []
        if self._last_check is not None and now - self._last_check > HEARTBEAT_TIMEOUT / 2:
            # This process or the storage was suspended, and may have missed heartbeats.
            self._heartbeats.clear()
        self._last_check = now
        for trial in trials:
            if trial.state != TrialState.RUNNING:
                continue
            count = trial.user_attrs.get('signs', 0)
            known, since = self._heartbeats.get(trial.number, (None, now))
            if count != known:
                self._heartbeats[trial.number] = count, now
                since = now
            if trial.user_attrs.get('worker') in dead or now - since > HEARTBEAT_TIMEOUT:
                self._tell(trial.number, state=TrialState.FAIL)
                lost.append(trial.user_attrs.get('key', ''))
        return lost

    def _trials(self) -> list[FrozenTrial]:
        return self._retry(lambda: self._study.get_trials(deepcopy=False))

    def _set(self, trial: optuna.Trial, name: str, value: Any) -> None:
        self._retry(lambda: trial.set_user_attr(name, value))

    def _finish(self, trial: optuna.Trial, attributes: Mapping[str, Any], **result: Any) -> None:
        """Finish a trial, unless another process considered its worker dead and finished it."""
        with suppress(UpdateFinishedTrialError):
            for name, value in attributes.items():
                self._set(trial, name, value)
            self._tell(trial.number, **result)

    def _tell(self, number: int, **result: Any) -> None:
        self._retry(lambda: self._study.tell(number, skip_if_finished=True, **result))

    def _retry(self, call: Callable[[], Result], timeout: float = STORAGE_TIMEOUT) -> Result:
        """Call a function, and retry with growing pauses while the storage is unavailable.

        Raises:
            StorageError: The timeout is exceeded, or a retry cannot succeed.
        """
        began, pause = time.monotonic(), 0.1
        while True:
            try:
                return call()
            except _UNAVAILABLE as error:
                waited = time.monotonic() - began
                permanent = isinstance(error, OSError) and error.errno in _NOT_RETRIED
                if permanent or waited > timeout:
                    raise StorageError(
                        f'{self.storage} cannot be used ({_first_line(error)}). The work dir '
                        'contains all results; the same command with --resume continues'
                    ) from error
                if pause > 1:
                    logging.getLogger(__name__).warning(
                        '%s is unavailable (%s); retrying', self.storage, _first_line(error)
                    )
                time.sleep(pause)
                pause = min(2 * pause, 20.0)


def _is_void(trial: FrozenTrial, retried: Collection[int]) -> bool:
    """Return whether a trial has no outcome: interrupted, duplicate, or discarded for a retry."""
    if trial.state != TrialState.FAIL:
        return False
    return 'error' not in trial.user_attrs or trial.number in retried


@contextmanager
def _locked(lock: Any) -> Iterator[None]:
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


class _Journal(JournalFileBackend):
    """Journal that removes an incomplete last line before it appends.

    A full disk or a power failure leaves such a line. Optuna would append to it and could no longer
    read the journal. The line is safe to remove: its write was never confirmed.
    """

    def __init__(self, path: str, lock: Any) -> None:
        super().__init__(path, lock_obj=lock)
        self._path, self._write_lock = path, lock

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        with _locked(self._write_lock):
            _remove_partial_line(self._path)
        super().append_logs(logs)


def _remove_partial_line(path: str) -> None:
    """Truncate a journal after its last newline."""
    with open(path, 'r+b') as file:
        end = size = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - _CHUNK)
            file.seek(start)
            found = file.read(end - start).rfind(b'\n')
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end < size:
            file.truncate(end)


def _open(storage: str, join: bool) -> optuna.Study:
    backend = _backend(storage)
    if join:
        try:
            return optuna.load_study(storage=backend, study_name=_STUDY)
        except KeyError:
            name = public_name(storage)
            raise StorageError(f'{name} contains no selection to resume {_HINT}') from None
    try:
        return optuna.create_study(
            storage=backend, study_name=_STUDY, direction='maximize', load_if_exists=True
        )
    except DuplicatedStudyError:  # another process created it at the same time
        return optuna.load_study(storage=backend, study_name=_STUDY)


def _backend(storage: str) -> BaseStorage:
    if '://' in storage:
        arguments = {'connect_args': {'timeout': 60}} if storage.startswith('sqlite') else {}
        try:
            return RDBStorage(storage, engine_kwargs={'pool_pre_ping': True, **arguments})
        except (ImportError, ValueError, ArgumentError) as error:
            raise StorageError(
                f'--storage {public_name(storage)}: {_first_line(error)} (PostgreSQL: pip install '
                "'dnas_mmseg[postgresql]', and postgresql+psycopg://user@host/name)"
            ) from None
    # Optuna compares the target of its lock with this path: it never releases relative ones.
    path = Path(storage).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = JournalFileOpenLock if os.name == 'nt' else JournalFileSymlinkLock
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', ExperimentalWarning)
        lock: Any = kind(str(path))
        try:
            lock.acquire()
            lock.release()
        except OSError as error:
            raise StorageError(
                f'{path}: its file system does not support locks ({_first_line(error)}); choose a '
                '--storage on another one, or a database (sqlite:///FILE)'
            ) from None
        try:
            if path.is_file():
                with _locked(lock):
                    _remove_partial_line(str(path))
            return JournalStorage(_Journal(str(path), lock))
        except ValueError as error:
            raise StorageError(f'{path} is not the journal of a selection ({error})') from None


def _first_line(error: Exception) -> str:
    return f'{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ""}'
