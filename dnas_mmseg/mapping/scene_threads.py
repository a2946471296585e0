"""Scenes mapped one after another; small ones in threads that share the model."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import chain, compress
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor, nn

from dnas_mmseg.errors import UserError

from .scene_jobs import MapSettings, SceneJob, count_windows, run_job
from .windows import SegmentorWindows, WindowModel

if TYPE_CHECKING:
    from mmseg.models import BaseSegmentor

_Request = tuple[list[Tensor], Future]

_SMALL = 8
"""Largest number of windows of a small scene. Such scenes are read and written while the network
computes; within a larger one, its windows are."""

_THREADS = 3
"""Threads of small scenes: one waits for the network while the others read and write. More take
turns in Python."""

_GPU_THREADS = 8
"""The same if the network is on a GPU, where the windows of waiting scenes share a batch."""


def run_jobs(
    model: BaseSegmentor | WindowModel,
    jobs: Sequence[SceneJob],
    settings: MapSettings,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[tuple[SceneJob, list[str] | Exception]]:
    """Write the outputs of scenes; yield each scene with its notes or its error.

    The network computes in the calling thread. On a CPU it has the same windows and batches for
    each scene as :func:`dnas_mmseg.mapping.scene_jobs.run_job`, so that the maps are the same. On a
    GPU, which single windows do not fill, windows of several small scenes share a batch.

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
    is_on_gpu = getattr(model, 'is_on_gpu', False)
    shared = _SharedModel(model, settings.tiling.batch if is_on_gpu else 0)
    with ThreadPoolExecutor(_GPU_THREADS if is_on_gpu else _THREADS) as pool:
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

    Args:
        model: The model.
        batch: Largest number of windows of several threads that are predicted at once; 0 predicts
            those of each call alone.
    """

    def __init__(self, model: WindowModel, batch: int) -> None:
        self._model, self._batch = model, batch
        self.dataset_meta, self.num_bands = model.dataset_meta, model.num_bands
        self.threshold, self.normalisation = model.threshold, model.normalisation
        self._requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
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
            groups = self._groups(self._take())
            try:
                while groups:
                    self._answer(groups.pop(0))
            finally:  # `close` refuses those that are left after an interrupt
                for request in chain.from_iterable(groups):
                    self._requests.put(request)

    def _take(self) -> list[_Request]:
        """Wait for a request; where calls share batches, also take those that are waiting."""
        found = [self._requests.get()]
        if self._batch:
            with suppress(queue.Empty):
                while True:
                    found.append(self._requests.get_nowait())
        return [request for request in found if request is not None]

    def _groups(self, requests: list[_Request]) -> list[list[_Request]]:
        """Divide requests into groups of windows of one size, of at most one batch."""
        groups: list[list[_Request]] = []
        for request in sorted(requests, key=lambda request: request[0][0].shape):
            count = sum(len(images) for images, _ in groups[-1]) if groups else 0
            is_same = bool(groups) and groups[-1][0][0][0].shape == request[0][0].shape
            if is_same and count + len(request[0]) <= self._batch:
                groups[-1].append(request)
            else:
                groups.append([request])
        return groups

    def _answer(self, group: list[_Request]) -> None:
        """Predict the windows of a group at once."""
        try:
            logits = self._model.logits([image for images, _ in group for image in images])
            ends = np.cumsum([len(images) for images, _ in group])
            for (_, answer), part in zip(group, np.split(logits, ends[:-1]), strict=True):
                answer.set_result(part)
        except BaseException as error:  # also an interrupt: no thread may wait forever
            for _, answer in group:
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
