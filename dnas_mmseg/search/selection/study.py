"""A durable queue of trainings, which any number of processes and machines share.

It is an Optuna study, each training one of its trials: waiting, running, complete with a score, or
failed. A failed trial that states no error was cut off by the end of its worker, and is queued
again. A worker shows that it is alive by counting; others take it for dead when its count stands
still by their own clocks, so that clocks which differ or jump do no harm.
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

SILENCE = 120.0
"""Time without a sign of life after which a worker is taken for dead, in seconds."""

PATIENCE = 600.0
"""Time for which a storage that does not answer is waited for, in seconds."""

_CHUNK = 2**16
"""Bytes of a journal that are read at a time, from its end."""

_LOSSES = 3
"""Workers that a training may take with it before it counts as failed."""

_STUDY = 'dnas_mmseg'
_ITS = '(--storage: the one that it was begun with)'
_UNAVAILABLE = (StorageInternalError, SQLAlchemyError, OSError)
_OURS_TO_SOLVE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)

optuna.logging.set_verbosity(optuna.logging.WARNING)


def public_name(storage: str) -> str:
    """Return a storage for messages and pages: a database's address without its password."""
    if '://' not in storage:
        return storage
    try:
        return make_url(storage).render_as_string(hide_password=True)
    except ArgumentError:
        return re.sub(r'(://[^:@/]*):[^@]*@', r'\1:***@', storage)


class StorageError(UserError):
    """A storage that cannot be used, or holds something else."""


@dataclass(frozen=True)
class Task:
    """A training that a worker has taken.

    Attributes:
        key: Name of the training; there is one training of each.
        content: What is to be trained, as JSON has it.
        trial: Trial of the study.
    """

    key: str
    content: Mapping[str, Any]
    trial: optuna.Trial


@dataclass(frozen=True)
class Outcome:
    """Outcome of a training.

    Attributes:
        score: Score; None where the training failed.
        error: Reason of the failure.
        facts: Facts on the training that its worker reports, by name.
    """

    score: float | None
    error: str = ''
    facts: Mapping[str, Any] = field(default_factory=dict)


class TrainingQueue:
    """The queue.

    Args:
        storage: Path of a journal file, or URL of a database as SQLAlchemy writes it.
        facts: Facts that all who share the queue must agree on, by name; they are kept in it.
        join: Whether the queue must be there already.
        patience: Time for which a storage that does not answer is waited for when it is opened, in
            seconds.

    Raises:
        StorageError: The storage cannot be used, holds something else, or is not there.
    """

    def __init__(
        self,
        storage: str,
        facts: Mapping[str, str],
        join: bool = False,
        patience: float = 10.0,  # at a command's start, its name is more likely to be wrong
    ) -> None:
        self.storage = public_name(storage)
        self._signs: dict[int, tuple[int, float]] = {}
        self._looked: float | None = None
        if join and '://' not in storage and not Path(storage).is_file():
            raise StorageError(f'{storage}: no such file, so no selection to go on with {_ITS}')
        self._study = self._patiently(lambda: _open(storage, join), patience)
        stored = self._patiently(lambda: dict(self._study.user_attrs))
        for name, value in facts.items():
            if name not in stored:
                self.set_metadata(name, value)

    def get_metadata(self, name: str) -> Any:
        """Return a value stored with the queue, None where it has none of that name."""
        return self._patiently(lambda: self._study.user_attrs).get(name)

    def set_metadata(self, name: str, value: Any) -> None:
        """Store a value that JSON can hold with the queue."""
        self._patiently(lambda: self._study.set_user_attr(name, value))

    def request(self, trainings: Mapping[str, Mapping[str, Any]]) -> None:
        """Queue trainings, except those that are waiting, running or done.

        Args:
            trainings: What is to be trained, by its key.
        """
        retried = self._retried
        there = {t.user_attrs.get('key') for t in self._trials() if not _is_lost(t, retried)}
        for key, content in trainings.items():
            if key not in there:
                attributes = {'key': key, 'content': dict(content)}
                self._patiently(partial(self._study.enqueue_trial, {}, user_attrs=attributes))

    def outcomes(self) -> dict[str, Outcome]:
        """Return the outcomes of the trainings that are done, by their keys."""
        found: dict[str, Outcome] = {}
        losses: dict[str, int] = {}
        retried = self._retried
        for trial in self._trials():
            key = trial.user_attrs.get('key', '')
            facts = trial.user_attrs.get('facts', {})
            if trial.state == TrialState.COMPLETE:
                found.setdefault(key, Outcome(trial.value, facts=facts))
            elif trial.state != TrialState.FAIL or trial.number in retried:
                continue
            elif 'error' in trial.user_attrs:
                found.setdefault(key, Outcome(None, trial.user_attrs['error'], facts))
            elif not {'duplicate', 'released'} & set(trial.user_attrs):
                losses[key] = losses.get(key, 0) + 1
        for key, count in losses.items():
            if count >= _LOSSES:
                error = f'{count} workers were killed while they trained it (too little memory?)'
                found.setdefault(key, Outcome(None, error))
        return found

    def retry_failed(self) -> list[str]:
        """Let the trainings that have failed be requested again.

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
        """Numbers of failed trials that do not count any more."""
        return set(self.get_metadata('retried') or ())

    def trainings(self) -> dict[str, tuple[Mapping[str, Any], Outcome]]:
        """Return content and outcome of the trainings that are done, by their keys."""
        outcomes = self.outcomes()
        contents = {t.user_attrs.get('key'): t.user_attrs.get('content') for t in self._trials()}
        return {key: (contents[key] or {}, outcome) for key, outcome in outcomes.items()}

    def running(self) -> dict[str, str]:
        """Return the workers of the trainings that are running, by the trainings' keys."""
        return {
            trial.user_attrs.get('key', ''): trial.user_attrs.get('worker', '')
            for trial in self._trials()
            if trial.state == TrialState.RUNNING
        }

    def claim(self, worker: str) -> Task | None:
        """Take a waiting training; None where none is waiting.

        Args:
            worker: Name of the worker, which no other one has.
        """
        while any(trial.state == TrialState.WAITING for trial in self._trials()):
            trial = self._patiently(self._study.ask)
            key = trial.user_attrs.get('key')
            retried = self._retried
            others = [
                other
                for other in self._trials()
                if other.user_attrs.get('key') == key
                and other.number < trial.number
                and not _is_lost(other, retried)
            ]
            # Others took the last one in between, or two queued the same.
            if key is None or others:
                self._finish(trial, {'duplicate': True}, state=TrialState.FAIL)
                continue
            self._set(trial, 'worker', worker)
            return Task(key, trial.user_attrs['content'], trial)
        return None

    def show_life(self, task: Task, count: int) -> None:
        """Show that the worker of a training is alive."""
        with suppress(UpdateFinishedTrialError):  # it was taken for dead meanwhile
            self._set(task.trial, 'signs', count)

    def finish(self, task: Task, score: float, facts: Mapping[str, Any]) -> None:
        """Keep the score of a training."""
        self._finish(task.trial, {'facts': dict(facts)}, values=score)

    def fail(self, task: Task, error: str, facts: Mapping[str, Any]) -> None:
        """Keep the reason why a training failed; it is not tried again."""
        attributes = {'facts': dict(facts), 'error': error}
        self._finish(task.trial, attributes, state=TrialState.FAIL)

    def release(self, task: Task) -> None:
        """Give back a training that was not finished."""
        self._finish(task.trial, {'released': True}, state=TrialState.FAIL)

    def lose(self, task: Task) -> None:
        """Return an interrupted training to the queue; after ``_LOSSES`` of them it has failed."""
        self._tell(task.trial.number, state=TrialState.FAIL)

    def release_lost(self, dead: Collection[str] = ()) -> list[str]:
        """Give back the trainings of workers that are dead.

        Args:
            dead: Names of workers that are known to be dead.

        Returns:
            Keys of the trainings.
        """
        trials, now, lost = self._trials(), time.monotonic(), []
        if self._looked is not None and now - self._looked > SILENCE / 2:
            # This process, or the storage, was away: nothing is known of the workers since.
            self._signs.clear()
        self._looked = now
        for trial in trials:
            if trial.state != TrialState.RUNNING:
                continue
            sign = trial.user_attrs.get('signs', 0)
            known, since = self._signs.get(trial.number, (None, now))
            if sign != known:
                self._signs[trial.number] = sign, now
                since = now
            if trial.user_attrs.get('worker') in dead or now - since > SILENCE:
                self._tell(trial.number, state=TrialState.FAIL)
                lost.append(trial.user_attrs.get('key', ''))
        return lost

    def _trials(self) -> list[FrozenTrial]:
        return self._patiently(lambda: self._study.get_trials(deepcopy=False))

    def _set(self, trial: optuna.Trial, name: str, value: Any) -> None:
        self._patiently(lambda: trial.set_user_attr(name, value))

    def _finish(self, trial: optuna.Trial, attributes: Mapping[str, Any], **how: Any) -> None:
        """Finish a trial, unless somebody took its worker for dead meanwhile."""
        with suppress(UpdateFinishedTrialError):
            for name, value in attributes.items():
                self._set(trial, name, value)
            self._tell(trial.number, **how)

    def _tell(self, number: int, **how: Any) -> None:
        self._patiently(lambda: self._study.tell(number, skip_if_finished=True, **how))

    def _patiently(self, call: Callable[[], Result], patience: float = PATIENCE) -> Result:
        """Call, again and again while the storage does not answer.

        Raises:
            StorageError: It has not answered for that long, or it will not without help.
        """
        began, pause = time.monotonic(), 0.1
        while True:
            try:
                return call()
            except _UNAVAILABLE as error:
                waited = time.monotonic() - began
                hopeless = isinstance(error, OSError) and error.errno in _OURS_TO_SOLVE
                if hopeless or waited > patience:
                    raise StorageError(
                        f'{self.storage} cannot be used ({_first_line(error)}). What was trained '
                        'is kept in the work dir; the same command with --resume goes on'
                    ) from error
                if pause > 1:
                    logging.getLogger(__name__).warning(
                        '%s does not answer (%s); waiting', self.storage, _first_line(error)
                    )
                time.sleep(pause)
                pause = min(2 * pause, 20.0)


def _is_lost(trial: FrozenTrial, retried: Collection[int]) -> bool:
    """Return whether a trial was cut off, or never counted, or is tried again."""
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
    """Journal whose last line may have been cut off, by a full disk or a loss of power.

    The next line would be glued to the half one, and the journal could not be read any more. What
    was cut off was never reported as written, so it is removed, under the lock.
    """

    def __init__(self, path: str, lock: Any) -> None:
        super().__init__(path, lock_obj=lock)
        self._path, self._write_lock = path, lock

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        with _locked(self._write_lock):
            _cut_half_line(self._path)
        super().append_logs(logs)


def _cut_half_line(path: str) -> None:
    """Remove what stands behind the last whole line of a journal."""
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
            raise StorageError(f'{name} holds no selection to go on with {_ITS}') from None
    try:
        return optuna.create_study(
            storage=backend, study_name=_STUDY, direction='maximize', load_if_exists=True
        )
    except DuplicatedStudyError:  # another process made it in this moment
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
    # Optuna recognises its lock by this name: a relative one would never be released.
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
                f'{path} lies on a file system that cannot lock files ({_first_line(error)}): '
                'choose a --storage on another one, or a database (sqlite:///FILE)'
            ) from None
        try:
            if path.is_file():
                with _locked(lock):
                    _cut_half_line(str(path))
            return JournalStorage(_Journal(str(path), lock))
        except ValueError as error:
            raise StorageError(f'{path} is no journal of a selection ({error})') from None


def _first_line(error: Exception) -> str:
    return f'{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ""}'
