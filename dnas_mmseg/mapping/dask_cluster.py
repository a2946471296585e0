"""Prediction of many and of large scenes on a Dask cluster.

A task maps a group of small scenes, or a block of rows of a large one; a last task joins the blocks
of a scene. Dask distributes the tasks, retries them when a worker is lost, and shows them on its
dashboard. All processes must see the scenes, the model and the folder of the maps under the same
paths.
"""

from __future__ import annotations

import math
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dnas_mmseg.cpus import usable_cores
from dnas_mmseg.errors import UserError
from dnas_mmseg.extras import require

from .block_plan import BlockPlan
from .loading import ModelSource
from .map_estimate import time_windows
from .row_blocks import RowBlock, join_blocks, select_windows, split_rows
from .scene import Tiling, predict_block, scene_state, scene_windows
from .scene_jobs import (
    MapSettings,
    SceneJob,
    count_windows,
    describe_scene,
    run_job,
    write_derived,
)

if TYPE_CHECKING:
    from distributed import Client, Future

_RETRIES = 2
"""Retries of a task on any worker, e.g. after the disk of one is full."""

_GROUP = 64
"""Windows of a group of small scenes: enough that Dask's overhead of milliseconds is small."""

_BLOCK = 2000
"""Largest number of windows of a task, some minutes of work, which is lost with a worker."""

_MIN_ROWS = 4
"""Smallest number of rows of windows of a block, which also requires a row of its neighbour."""

_REPORT = 1.0
"""Seconds between two progress reports of a task."""

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
        threads = max(1, usable_cores() // count)
        with (
            distributed.LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                dashboard_address='127.0.0.1:0' if _has_dashboard() else None,
                env={'OMP_NUM_THREADS': str(threads)},
                silence_logs='ERROR',
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield DaskCluster(client, model)
        return
    options: dict[str, Any] = {'address': address}
    if '://' not in address:
        if not os.path.isfile(address):
            raise UserError(
                f"--dask '{address}': local:N, the address of a scheduler (tcp://host:8786) or its "
                'scheduler file expected'
            )
        options = {'scheduler_file': address}
    try:
        client = distributed.Client(timeout=_WAIT, **options)
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
        self.client, self.model = client, model.resolve()

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
            versions = self.client.run(_version, on_error='return')
        finally:
            probe.unlink()
        for worker, visible in found.items():
            if visible is not True:
                raise UserError(
                    f'the worker {worker} does not see {folder}: all workers must see the scenes, '
                    'the model and --out-dir under the same paths'
                )
        from dnas_mmseg import __version__

        for worker, version in versions.items():
            if version != __version__:
                raise UserError(
                    f'the worker {worker} cannot import dnas_mmseg {__version__} ({version}): '
                    'install the same version on all workers'
                )

    def time_windows(self, bands: int, tiling: Tiling) -> float:
        """Return the seconds of a window on a worker.

        Args:
            bands: Number of input bands.
            tiling: Windows, batch, flips and precision.
        """
        return self.client.submit(_time_windows, self.model, bands, tiling, pure=False).result()

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
        run = _Run(self.client, self.model, settings, [_absolute(job) for job in jobs], advance)
        originals = {job.target.absolute(): job for job in jobs}
        for job, outcome in run.outcomes(self.count_workers(), resume):
            yield originals[job.target], outcome


class Share(NamedTuple):
    """Scenes of a task; or one scene and its blocks, a task each."""

    jobs: list[SceneJob]
    blocks: list[RowBlock]


def divide_jobs(jobs: Sequence[SceneJob], tiling: Tiling, workers: int) -> list[Share]:
    """Divide scenes among workers.

    A scene is divided into blocks of rows if it has more windows than the share of a worker, or
    takes many minutes. Small scenes are grouped.

    Args:
        jobs: Planned scenes.
        tiling: Windows of the maps.
        workers: Number of workers.
    """
    counts = [count_windows(job, tiling) for job in jobs]
    fair = max(1, math.ceil(sum(counts) / workers))
    limit = min(_GROUP, max(1, sum(counts) // (4 * workers)))
    shares: list[Share] = []
    group: list[SceneJob] = []
    group_windows = 0
    for job, count in zip(jobs, counts, strict=True):
        parts = max(math.ceil(count / fair), math.ceil(count / _BLOCK))
        if parts > 1:
            windows = scene_windows(*job.info.shape, tiling)
            blocks = split_rows(job.info.height, windows, tiling.shared, _MIN_ROWS, parts)
            shares.append(Share([job], blocks if len(blocks) > 1 else []))
            continue
        if group and group_windows + count > limit:
            shares.append(Share(group, []))
            group, group_windows = [], 0
        group.append(job)
        group_windows += count
    return [*shares, Share(group, [])] if group else shares


def _version() -> str:
    from dnas_mmseg import __version__

    return __version__


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
        # A scene of its own fails as a task, which Dask retries on any worker.
        return self._submit(_Task(jobs, windows), _map_scenes, jobs, topic=topic, name='scenes')

    def _submit_blocks(
        self, job: SceneJob, blocks: list[RowBlock], topic: str, resume: bool
    ) -> None:
        tiling, info = self.settings.tiling, job.info
        windows = scene_windows(*info.shape, tiling)
        plan = BlockPlan.open(
            job.target, blocks, self.settings.products, self._identity(job), resume
        )
        futures = []
        for block in plan.find_missing():
            number = len(select_windows(windows, block, info.height, tiling.shared))
            task = _Task([job], number, is_outcome=False)
            futures.append(
                self._submit(task, _map_block, job, plan, block, topic=topic, name='block')
            )
        self._submit(_Task([job], 0), _join, job, plan, futures, topic=topic, name='join')

    def _identity(self, job: SceneJob) -> dict[str, Any]:
        """Return what determines the samples of a map, as JSON values."""
        kinds = [product.kind for product in self.settings.products.rasters]
        return {
            'scene': asdict(job.source),
            'files': scene_state(job.info.path),
            'tiling': asdict(self.settings.tiling),
            'products': kinds,
            'model': self.model.describe(),
        }

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


_lock = threading.Lock()
"""Held by a task: a worker with several threads maps one scene at a time, by all of them."""

_models: dict[str, Any] = {}
"""Loaded model of this worker by the description of its source."""


def load_model_once(source: ModelSource) -> Any:
    """Return the model of a source, loaded once per process."""
    key = repr(source.describe())
    if key not in _models:
        _models.clear()
        _models[key] = source.load()
    return _models[key]


def _reporter(place: tuple[str, str]) -> Callable[[int, int, int], None]:
    """Return a function that reports progress to the client from time to time.

    Its arguments are the windows that were finished before a scene, and those of the scene that are
    finished and in total.
    """
    from distributed import get_worker

    topic, key = place
    worker = get_worker()
    last = time.monotonic()

    def report(before: int, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _REPORT:
            last = time.monotonic()
            worker.log_event(topic, (key, before + done))

    return report


def _time_windows(source: ModelSource, bands: int, tiling: Tiling) -> float:
    with _lock:
        return time_windows(load_model_once(source), bands, tiling)


def _map_scenes(
    source: ModelSource, settings: MapSettings, jobs: list[SceneJob], place: tuple[str, str]
) -> list[list[str] | Exception]:
    """Map whole scenes; return the notes or the error of each."""
    with _lock:
        model, report = load_model_once(source), _reporter(place)
        outcomes: list[list[str] | Exception] = []
        finished = 0
        for job in jobs:
            try:
                outcomes.append(run_job(model, job, settings, partial(report, finished)))
            except (UserError, OSError) as error:
                if len(jobs) == 1:
                    raise UserError(str(error)) from None
                outcomes.append(UserError(str(error)))
            finished += count_windows(job, settings.tiling)
        return outcomes


def _map_block(
    source: ModelSource,
    settings: MapSettings,
    job: SceneJob,
    plan: BlockPlan,
    block: RowBlock,
    place: tuple[str, str],
) -> None:
    """Map a block of rows."""
    with _lock:
        try:
            model = load_model_once(source)
            notes = describe_scene(model, job) if block.top == 0 else []
            notes += predict_block(
                model,
                job.source,
                block,
                plan.folder,
                tiling=settings.tiling,
                products=settings.products,
                advance=partial(_reporter(place), 0),
            )
            plan.finish(block, notes)
        except (UserError, OSError) as error:
            raise UserError(str(error)) from None


def _join(
    source: ModelSource,
    settings: MapSettings,
    job: SceneJob,
    plan: BlockPlan,
    blocks: list[None],  # the results of the blocks, so that Dask runs them first
    place: tuple[str, str],
) -> list[list[str]]:
    """Join the blocks of a scene and write its derived products; return its notes."""
    with _lock:
        try:
            join_blocks(
                job.info, job.target, plan.blocks, plan.folder, settings.classes, settings.products
            )
            notes = [*job.notes, *plan.read_notes(), *write_derived(job, settings)]
            plan.remove()
        except (UserError, OSError) as error:
            raise UserError(str(error)) from None
        return [notes]
