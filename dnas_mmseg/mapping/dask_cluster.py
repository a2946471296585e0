"""Prediction of many and of large scenes on a Dask cluster.

A task maps a group of small scenes, or a block of rows of a large one; a last task joins the blocks
of a scene. Dask distributes the tasks, retries them when a worker is lost, and shows them on its
dashboard. All processes must see the scenes, the model and the folder of the maps under the same
paths.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnas_mmseg.cpus import usable_cores
from dnas_mmseg.errors import UserError
from dnas_mmseg.extras import require
from dnas_mmseg.files import remove_leftovers

from .block_plan import BlockPlan, identify_samples
from .dask_tasks import join_scene, map_block, map_scenes, time_on_worker
from .loading import ModelSource
from .row_blocks import RowBlock, select_windows
from .scene import Tiling, scene_windows
from .scene_jobs import MapSettings, SceneJob, count_windows
from .shares import divide_jobs

if TYPE_CHECKING:
    from distributed import Client, Future

_RETRIES = 2
"""Retries of a task on any worker, e.g. after the disk of one is full."""

_WAIT = 60.0
"""Seconds to wait for a scheduler and its first worker."""


@contextmanager
def open_cluster(address: str, model: ModelSource) -> Iterator[DaskCluster]:
    """Start a cluster on this machine, or connect to a running scheduler.

    Args:
        address: ``local`` (a process per core), ``local:4`` (four processes, which share the
            cores), the address of a scheduler (``tcp://host:8786``), or the path of its
            ``--scheduler-file``.
        model: Model that the workers load.

    Raises:
        UserError: Dask is not installed, the address is invalid, the scheduler has no workers, or
            these lack this package or the folder of the maps.

    Example:
        >>> with open_cluster('local:2', ModelSource('best.pth', 'config.py')) as cluster:
        ...     predict_scenes(model, ['a.tif'], 'maps', cluster=cluster)  # doctest: +SKIP
    """
    require('distributed', 'dask')
    import distributed

    local, _, number = address.partition(':')
    if local == 'local':
        if number and not (number.isdigit() and int(number)):
            raise UserError(f"--dask '{address}': local:N expected, e.g. local:4")
        count = int(number) if number else usable_cores()
        threads = os.environ.get('OMP_NUM_THREADS') or max(1, usable_cores() // count)
        environment = 'distributed.nanny.pre-spawn-environ'
        settings = {
            f'{environment}.OMP_NUM_THREADS': threads,
            f'{environment}.MALLOC_ARENA_MAX': 1,  # see cpus.keep_freed_memory
            'distributed.worker.profile.enabled': False,  # it interrupts Python 100 times a second
        }
        with (
            require('dask', 'dask').config.set(settings),
            distributed.LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                dashboard_address='127.0.0.1:0',
                silence_logs='CRITICAL',
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield DaskCluster(client, model)
        return
    scheduler = address if '://' in address else _read_scheduler_file(address)
    try:
        client = distributed.Client(scheduler, timeout=_WAIT)
    except (OSError, ValueError) as error:
        raise UserError(
            f'no Dask scheduler at {address} ({error}): start `dask scheduler`'
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=_WAIT)
        except TimeoutError:
            raise UserError(
                f'the Dask scheduler at {address} has no workers: start `dask worker`'
            ) from None
        yield DaskCluster(client, model)


def _read_scheduler_file(path: str) -> str:
    """Return the address of a scheduler from its file."""
    if not os.path.isfile(path):
        raise UserError(
            f"--dask '{path}': local:N, the address of a scheduler (tcp://host:8786) or its "
            'scheduler file expected'
        )
    try:
        return json.loads(Path(path).read_text(encoding='utf-8'))['address']
    except (ValueError, TypeError, KeyError):
        raise UserError(
            f'{path} is not a scheduler file, which `dask scheduler --scheduler-file` writes'
        ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Dask's own tracebacks of errors that are reported."""
    loggers = [logging.getLogger(f'distributed.{name}') for name in ('client', 'core')]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _has_dashboard() -> bool:
    try:
        import bokeh  # noqa: F401
    except ImportError:
        return False
    return True


class DaskCluster:
    """Map scenes by the workers of a Dask cluster, for :func:`predict_scenes`.

    Args:
        client: Client of the cluster.
        model: Model that the workers load, each once.
    """

    def __init__(self, client: Client, model: ModelSource) -> None:
        self.client, self.model = client, model

    def count_workers(self) -> int:
        """Return the number of workers."""
        return max(1, len(self.client.nthreads()))

    def describe(self) -> str:
        """Return one line about the workers, with the address of the dashboard if there is one."""
        dashboard = f', dashboard {self.client.dashboard_link}' if _has_dashboard() else ''
        return f'{self.count_workers()} workers{dashboard}'

    def check_workers(self, folder: Path) -> None:
        """Check that all workers have this package and see a folder.

        Raises:
            UserError: A worker does not.
        """
        folder = folder.absolute()
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f'.probe-{secrets.token_hex(4)}'
        probe.touch()
        try:
            found = self.client.run(os.path.isfile, str(probe), on_error='return')
            versions = self.client.run(_get_version, on_error='return')
        finally:
            probe.unlink()
        for worker, visible in found.items():
            if visible is not True:
                raise UserError(
                    f'the worker {worker} does not see {folder}: all workers must see the scenes, '
                    'the model and --out-dir under the same paths'
                )
        expected = _get_version()
        for worker, version in versions.items():
            if version != expected:
                raise UserError(
                    f'the worker {worker} cannot import dnas_mmseg {expected} ({version}): '
                    'install the same version on all workers'
                )

    def time_windows(self, bands: int, tiling: Tiling) -> float:
        """Return the seconds of a window on a worker.

        Args:
            bands: Number of input bands.
            tiling: Windows, batch, flips and precision.
        """
        return self.client.submit(
            time_on_worker, self.model.resolve(), bands, tiling, pure=False
        ).result()

    def run(
        self,
        jobs: Sequence[SceneJob],
        settings: MapSettings,
        *,
        resume: bool,
        advance: Callable[[int, int], None],
    ) -> Iterator[tuple[SceneJob, list[str] | Exception]]:
        """Map scenes; yield each with its notes or its error, in the order in which they finish.

        Args:
            jobs: The scenes and their outputs.
            settings: Settings of the call.
            resume: Whether finished blocks of an earlier run are used.
            advance: Progress callback, called with the numbers of finished and of all windows.
        """
        if jobs:
            self.check_workers(jobs[0].target.parent)
        model = self.model.resolve()  # again for each call: a work dir may have changed
        run = _Run(self.client, model, settings, [_absolute(job) for job in jobs], advance)
        originals = {job.target.absolute(): job for job in jobs}
        with _quiet():
            for job, outcome in run.outcomes(self.count_workers(), resume):
                yield originals[job.target], outcome
        for folder in {
            product.path(job.target).parent for job in jobs for product in settings.products
        }:
            remove_leftovers(folder)  # of workers that died


def _get_version() -> str:
    # An import would point upwards to the package, which imports this module.
    return sys.modules['dnas_mmseg'].__version__


def _absolute(job: SceneJob) -> SceneJob:
    """Return the job with absolute paths; names of GDAL data sets are left as they are."""
    path = os.fspath(job.source.path)
    if os.path.exists(path):
        path = os.path.abspath(path)
    return replace(
        job,
        info=replace(job.info, path=path),
        source=replace(job.source, path=path),
        target=job.target.absolute(),
    )


@dataclass
class _Task:
    """Jobs of a future; a block or the join of one scene has a plan."""

    jobs: list[SceneJob]
    windows: int
    is_outcome: bool = True  # whether the result is that of the jobs; not of a block


@dataclass
class _Run:
    """Tasks of a call, and their progress."""

    client: Client
    model: ModelSource
    settings: MapSettings
    jobs: list[SceneJob]
    advance: Callable[[int, int], None]
    tasks: dict[Future, _Task] = field(default_factory=dict)
    progress: dict[str, int] = field(default_factory=dict)
    total: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def outcomes(
        self, workers: int, resume: bool
    ) -> Iterator[tuple[SceneJob, list[str] | Exception]]:
        """Submit all tasks; yield the jobs with their notes or errors."""
        from distributed import as_completed

        topic = f'dnas-progress-{secrets.token_hex(4)}'
        pending = {job.target: job for job in self.jobs}
        failed: list[tuple[SceneJob, Exception]] = []
        self.client.subscribe_topic(topic, self._report)
        try:
            self._submit_all(topic, workers, resume, failed)
            for job, error in failed:
                yield pending.pop(job.target), error
            completed = as_completed(list(self.tasks))
            for future in completed:
                task = self.tasks.pop(future)
                is_lost = future.status == 'cancelled'  # the scheduler is gone
                for job, outcome in self._results(future, task):
                    if isinstance(outcome, Exception) and len(task.jobs) > 1 and not is_lost:
                        # Alone, so that it does not stop the others of its group again.
                        completed.add(self._submit_scenes([job], topic))
                    elif job.target in pending:
                        yield pending.pop(job.target), outcome
                self._report((0.0, (future.key, task.windows)))
        finally:
            with suppress(Exception):  # the scheduler may be gone
                self.client.unsubscribe_topic(topic)
            if self.tasks:
                with suppress(Exception):
                    self.client.cancel(list(self.tasks))

    def _results(
        self, future: Future, task: _Task
    ) -> Iterator[tuple[SceneJob, list[str] | Exception]]:
        if future.status == 'finished':
            if task.is_outcome:
                yield from zip(task.jobs, future.result(), strict=True)
        elif task.is_outcome or future.status == 'cancelled':
            error = _explain(future)
            yield from ((job, error) for job in task.jobs)

    def _submit_all(
        self, topic: str, workers: int, resume: bool, failed: list[tuple[SceneJob, Exception]]
    ) -> None:
        for share in divide_jobs(self.jobs, self.settings.tiling, workers):
            # Blocks of an earlier run are continued, even if fewer workers would not divide it.
            divided = [
                job
                for job in share.jobs
                if share.blocks or BlockPlan.folder_of(job.target).is_dir()
            ]
            for job in divided:
                blocks = share.blocks or [RowBlock(0, job.info.height)]
                try:
                    self._submit_blocks(job, blocks, topic, resume)
                except (UserError, OSError) as error:
                    failed.append((job, error))
            whole = [job for job in share.jobs if job not in divided]
            if whole:
                self._submit_scenes(whole, topic)

    def _submit(self, task: _Task, function: Callable, *args: Any, topic: str, name: str) -> Future:
        key = f'{name}-{secrets.token_hex(4)}'
        future = self.client.submit(
            function, self.model, self.settings, *args, (topic, key), key=key, retries=_RETRIES
        )
        self.tasks[future] = task
        self.total += task.windows
        return future

    def _submit_scenes(self, jobs: list[SceneJob], topic: str) -> Future:
        windows = sum(count_windows(job, self.settings.tiling) for job in jobs)
        # The task of a single scene fails with it, and Dask retries it on any worker.
        return self._submit(_Task(jobs, windows), map_scenes, jobs, topic=topic, name='scenes')

    def _submit_blocks(
        self, job: SceneJob, blocks: list[RowBlock], topic: str, resume: bool
    ) -> None:
        tiling, info = self.settings.tiling, job.info
        windows = scene_windows(*info.shape, tiling)
        identity = identify_samples(job, self.settings, self.model.describe())
        plan = BlockPlan.open(job.target, blocks, self.settings.products, identity, resume)
        futures = []
        for block in plan.find_missing():
            number = len(select_windows(windows, block, info.height, tiling.shared))
            task = _Task([job], number, is_outcome=False)
            futures.append(
                self._submit(task, map_block, job, plan, block, topic=topic, name='block')
            )
        self._submit(_Task([job], 0), join_scene, job, plan, futures, topic=topic, name='join')

    def _report(self, event: tuple[float, tuple[str, int]]) -> None:
        """Record the number of finished windows of a task."""
        key, done = event[1]
        with self.lock:  # called by the client's thread, too
            self.progress[key] = max(done, self.progress.get(key, 0))
            self.advance(sum(self.progress.values()), self.total)


def _explain(future: Future) -> Exception:
    """Return the error of a task, in terms of what a user can do."""
    from distributed import KilledWorker

    if future.status == 'cancelled':
        return UserError(
            'the connection to the Dask scheduler is lost; finished maps and blocks remain'
        )
    error = future.exception()
    if isinstance(error, KilledWorker):
        return UserError(
            'the workers died that mapped it, possibly for lack of memory: see their logs, or '
            'decrease --batch or --window'
        )
    return error
