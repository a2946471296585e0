"""Worker processes of the preparation."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any

from dnas_mmseg.datasets.description import DatasetError


def check_workers(workers: int) -> None:
    """Raise a DatasetError if a number of processes is below 1."""
    if workers < 1:
        raise DatasetError(f'workers = {workers}: expected at least 1')


def map_unordered(
    function: Callable, calls: Iterable[tuple], workers: int
) -> Iterator[tuple[tuple, Any]]:
    """Yield arguments and result of each call as it finishes, with few calls queued per process.

    Args:
        function: Function of a module, which processes import.
        calls: Arguments of each call.
        workers: Number of processes; 1 runs in this process.

    Raises:
        DatasetError: The number of processes is below 1, or a process was killed.
    """
    check_workers(workers)
    if workers == 1:
        yield from ((arguments, function(*arguments)) for arguments in calls)
        return
    calls = iter(calls)
    # Do not fork this process: the thread of a progress bar may hold a lock.
    known = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context('forkserver' if 'forkserver' in known else 'spawn')
    context.set_forkserver_preload([function.__module__])
    pool = ProcessPoolExecutor(workers, context, _initialize_worker)
    try:
        running = {pool.submit(function, *a): a for a in islice(calls, 4 * workers)}
        while running:
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield running.pop(future), future.result()
            running.update({pool.submit(function, *a): a for a in islice(calls, len(finished))})
    except BrokenProcessPool:
        raise DatasetError(
            'a worker process was killed, possibly out of memory: run the same command again with '
            'fewer --workers'
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _initialize_worker() -> None:
    """Ignore ^C, which the main process handles, and exit when the main process ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end_with_parent() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None  # this is a worker
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
