"""Scenes mapped one after another; small ones in threads that share the model."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor, nn

from dnas_mmseg.errors import UserError

from .scene_jobs import MapSettings, SceneJob, count_windows, run_job
from .windows import SegmentorWindows, WindowModel

if TYPE_CHECKING:
    from mmseg.models import BaseSegmentor

_SMALL = 8
"""Largest number of windows of a small scene. Such scenes are read and written while the network
computes; within a larger one, its windows are."""

_THREADS = 3
"""Threads of small scenes: one waits for the network while the others read and write. More take
turns in Python."""


def run_jobs(
    model: BaseSegmentor | WindowModel,
    jobs: Sequence[SceneJob],
    settings: MapSettings,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[tuple[SceneJob, list[str] | Exception]]:
    """Write the outputs of scenes; yield each scene with its notes or its error.

    The network computes in the calling thread, with the same windows and batches for each scene as
    :func:`dnas_mmseg.mapping.scene_jobs.run_job`, so that the maps are the same.

    Args:
        model: Segmentor in evaluation mode, or an exported model.
        jobs: The scenes and their outputs.
        settings: Settings of the call.
        advance: Progress callback, called with the numbers of finished and of all windows.
    """
    windows = (
        SegmentorWindows(model, settings.tiling.precision)
        if isinstance(model, nn.Module)
        else model
    )
    counts = [count_windows(job, settings.tiling) for job in jobs]
    finished, total = 0, sum(counts)
    is_small = [count <= _SMALL for count in counts]
    if sum(is_small) == 1:  # alone, it reports its windows
        is_small = [False] * len(jobs)
    small = list(compress(jobs, is_small))
    for job, outcome in _run_small(windows, small, settings):
        finished += count_windows(job, settings.tiling)
        advance(finished, total)
        yield job, outcome
    for job, count, is_done in zip(jobs, counts, is_small, strict=True):
        if not is_done:
            report = partial(_advance_by, advance, finished, total)
            yield job, _try_job(windows, job, settings, report)
            finished += count
            advance(finished, total)


def _advance_by(
    advance: Callable[[int, int], None], before: int, total: int, done: int, _: int
) -> None:
    advance(before + done, total)


def _try_job(
    model: WindowModel,
    job: SceneJob,
    settings: MapSettings,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> list[str] | Exception:
    """Return the notes of a scene, or the error for which it cannot be mapped."""
    try:
        return run_job(model, job, settings, advance)
    except (UserError, OSError) as error:
        return error


def _run_small(
    model: WindowModel, jobs: Sequence[SceneJob], settings: MapSettings
) -> Iterator[tuple[SceneJob, list[str] | Exception]]:
    shared = _SharedModel(model)
    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            futures = [pool.submit(_try_job, shared, job, settings) for job in jobs]
            for job, future in zip(jobs, futures, strict=True):
                shared.serve_until(future)
                yield job, future.result()
        finally:  # also if the caller stops early
            shared.close()
            pool.shutdown(cancel_futures=True)


class _SharedModel:
    """Window model for other threads; the thread that serves it predicts their windows.

    Settings of torch apply per thread, for example the GPU and the number of threads.
    """

    def __init__(self, model: WindowModel) -> None:
        self._model = model
        self.dataset_meta, self.num_bands = model.dataset_meta, model.num_bands
        self.threshold, self.normalisation = model.threshold, model.normalisation
        self._requests: queue.SimpleQueue[tuple[list[Tensor], Future] | None] = queue.SimpleQueue()
        self._is_closed = False

    def logits(self, images: list[Tensor]) -> np.ndarray:
        """Wait for the logits of windows; see :class:`WindowModel`."""
        answer: Future[np.ndarray] = Future()
        self._requests.put((images, answer))
        if self._is_closed:
            self._refuse()
        return answer.result()

    def serve_until(self, future: Future) -> None:
        """Predict the windows of other threads until a future is done."""
        future.add_done_callback(lambda _: self._requests.put(None))
        while not future.done():
            request = self._requests.get()
            if request is not None:
                images, answer = request
                try:
                    answer.set_result(self._model.logits(images))
                except BaseException as error:  # also an interrupt: no thread may wait for ever
                    answer.set_exception(error)
                    if not isinstance(error, Exception):
                        raise

    def close(self) -> None:
        """Refuse all requests, so that no thread waits for them."""
        self._is_closed = True
        self._refuse()

    def _refuse(self) -> None:
        while True:
            try:
                request = self._requests.get_nowait()
            except queue.Empty:
                return
            if request is not None:
                request[1].set_exception(UserError('the prediction was stopped'))
