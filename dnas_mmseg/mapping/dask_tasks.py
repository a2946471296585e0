"""Tasks of Dask workers: scenes, blocks of rows, and their joining."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from typing import Any

import torch

from dnas_mmseg.cpus import keep_freed_memory, usable_threads
from dnas_mmseg.errors import UserError
from dnas_mmseg.raster import forbid_network

from .block_plan import BlockPlan
from .loading import ModelSource
from .map_estimate import time_windows
from .row_blocks import RowBlock, join_blocks
from .scene import Tiling, predict_block
from .scene_jobs import (
    MapSettings,
    SceneJob,
    write_derived,
)
from .scene_threads import run_jobs

_REPORT = 1.0
"""Seconds between two progress reports of a task."""

_lock = threading.Lock()
"""Held by a task: a worker with several threads maps one scene at a time, by all of them."""

_models: dict[str, Any] = {}
"""Loaded model of this worker by the description of its source."""


def load_model_once(source: ModelSource, weights: str = '') -> Any:
    """Return the model of a source, loaded once per process.

    Args:
        source: The source.
        weights: Expected checksum of the weights; empty if unknown.

    Raises:
        UserError: The file has other weights, as after further training.
    """
    key = repr(source.describe())
    if key not in _models:
        _models.clear()
        keep_freed_memory()
        # Dask limits MKL's threads to one, and torch's with them.
        torch.set_num_threads(usable_threads())
        _models[key] = source.load()
    model = _models[key]
    if weights and weights != model.dataset_meta.get('weights'):
        raise UserError(
            f'{source.checkpoint} has other weights than the model of the maps: load the model '
            'again (repeat the command)'
        )
    return model


def _reporter(place: tuple[str, str]) -> Callable[[int, int], None]:
    """Return a progress callback that reports to the client, and stops a cancelled task."""
    from distributed import get_worker

    topic, key = place
    worker = get_worker()
    last = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        task = worker.state.tasks.get(key)
        if task is None or task.state == 'cancelled':
            raise UserError('the prediction was cancelled')
        if time.monotonic() - last >= _REPORT:
            last = time.monotonic()
            worker.log_event(topic, (key, done))

    return report


def _run_alone(task: Callable[..., Any]) -> Callable[..., Any]:
    """Return a task that runs alone in its process, and whose errors can be pickled.

    The first arguments of the task are the source of the model and the settings.
    """

    @functools.wraps(task)
    def run(source: ModelSource, settings: MapSettings, *args: Any) -> Any:
        try:
            with _lock:
                if settings.is_offline:
                    forbid_network()
                return task(source, settings, *args)
        except (UserError, OSError) as error:
            message = str(error)
        raise UserError(message)  # without its context, which may not be picklable

    return run


@_run_alone
def map_scenes(
    source: ModelSource, settings: MapSettings, jobs: list[SceneJob], place: tuple[str, str]
) -> list[list[str] | Exception]:
    """Map whole scenes; return the notes or the error of each.

    Raises:
        UserError: The only scene cannot be mapped.
    """
    found = run_jobs(load_model_once(source, settings.weights), jobs, settings, _reporter(place))
    outcomes = {job.target: outcome for job, outcome in found}
    for outcome in outcomes.values():
        if isinstance(outcome, Exception) and len(jobs) == 1:
            raise outcome
    # Errors without their context, which may not be picklable.
    return [
        UserError(str(outcome)) if isinstance(outcome, Exception) else outcome
        for outcome in (outcomes[job.target] for job in jobs)
    ]


@_run_alone
def map_block(
    source: ModelSource,
    settings: MapSettings,
    job: SceneJob,
    plan: BlockPlan,
    block: RowBlock,
    place: tuple[str, str],
) -> None:
    """Map a block of rows, unless it is finished, possibly by a worker that is lost since."""
    if job.target.is_file() and not plan.folder.is_dir():  # joined
        return
    if plan.is_finished(block):
        return
    model = load_model_once(source, settings.weights)
    notes = predict_block(
        model,
        job.source,
        block,
        plan.folder,
        tiling=settings.tiling,
        products=settings.products,
        advance=_reporter(place),
    )
    plan.finish(block, notes)


@_run_alone
def join_scene(
    source: ModelSource,
    settings: MapSettings,
    job: SceneJob,
    plan: BlockPlan,
    blocks: list[None],  # the results of the blocks, so that Dask runs them first
    place: tuple[str, str],
) -> list[list[str]]:
    """Join the blocks of a scene and write its derived products; return its notes."""
    if job.target.is_file() and not plan.folder.is_dir():  # by a worker that is lost since
        return [list(job.notes)]
    join_blocks(
        job.info,
        job.target,
        plan.blocks,
        plan.folder,
        settings.classes,
        settings.products,
        settings.weights,
    )
    notes = [*job.notes, *plan.read_notes(), *write_derived(job, settings)]
    plan.remove()
    return [notes]


def time_on_worker(source: ModelSource, bands: int, tiling: Tiling) -> float:
    """Return the seconds of a window."""
    with _lock:
        return time_windows(load_model_once(source), bands, tiling)
