"""Number of usable CPU cores, and thread settings for shared machines.

torch's threads wait for each other by spinning, which slows training down by a factor of fifteen
when other processes use the same cores. libgomp, torch's thread library on Linux, spins 300,000
times by default. With 30,000 spins, a training step takes as long on an idle machine and a quarter
of the time on a busy one; without spinning (``OMP_WAIT_POLICY=PASSIVE``), it takes two to three
times as long on an idle machine (benchmarks/speed.md).
"""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Parameters of glibc's mallopt."""

_SPINS = '30000'
_POLICIES = ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT')
_CGROUP_2 = Path('/sys/fs/cgroup/cpu.max')
_CGROUP_1 = (
    Path('/sys/fs/cgroup/cpu/cpu.cfs_quota_us'),
    Path('/sys/fs/cgroup/cpu/cpu.cfs_period_us'),
)


def usable_cores() -> int:
    """Return the number of CPU cores available to this process, by affinity and cgroup quota."""
    if hasattr(os, 'sched_getaffinity'):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota = _quota()
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def usable_threads() -> int:
    """Return the number of threads of an inference engine: ``OMP_NUM_THREADS``, or all cores."""
    limit = os.environ.get('OMP_NUM_THREADS', '')
    return int(limit) if limit.isdigit() and int(limit) > 0 else usable_cores()


def keep_freed_memory() -> None:
    """Make this process reuse freed memory instead of returning it to the system.

    glibc returns large arrays to the system when they are freed, and the pages of the next ones are
    cleared again: windows of 512 x 512 in batches of four took twice the time. The resident size
    stays near its peak. Without effect where the C library is not glibc.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, 2**28)
        mallopt(_M_MMAP_THRESHOLD, 2**25)  # the largest value that glibc accepts
        mallopt(_M_ARENA_MAX, 1)  # the heaps of further arenas are small, and returned at once


def share_cores(environment: MutableMapping[str, str]) -> None:
    """Set defaults for the number of torch's threads and for how long they spin.

    Variables set by the user take precedence. Call it before torch is imported.

    Args:
        environment: Environment of the process, ``os.environ``.
    """
    if not any(name in environment for name in _POLICIES):
        environment['GOMP_SPINCOUNT'] = _SPINS
    # libgomp respects the affinity, but not the cgroup quota of a container.
    if 'OMP_NUM_THREADS' not in environment and _quota() is not None:
        environment['OMP_NUM_THREADS'] = str(usable_cores())


def _quota() -> float | None:
    """Return the CPU quota of the process's control group, in cores; None without a limit."""
    try:
        if _CGROUP_2.is_file():
            limit, period = _CGROUP_2.read_text().split()
        else:
            limit, period = (path.read_text().strip() for path in _CGROUP_1)
        return None if limit in ('max', '-1') else int(limit) / int(period)
    except (OSError, ValueError):
        return None
