"""CPU cores that a process may use, and threads that share them with other work.

The threads of torch wait for each other by spinning. Where other processes want the cores, a
training step took fifteen times as long as on a quiet machine. libgomp, torch's thread library on
Linux, spins 300,000 times by default; with 30,000 a step took as long on a quiet machine, and a
quarter of the time beside others. Not spinning at all (``OMP_WAIT_POLICY=PASSIVE``) took two to
three times as long on a quiet one (docs/performance.md).
"""

from __future__ import annotations

import math
import os
from collections.abc import MutableMapping
from pathlib import Path

_SPINS = '30000'
_POLICIES = ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT')
_CGROUP_2 = Path('/sys/fs/cgroup/cpu.max')
_CGROUP_1 = (
    Path('/sys/fs/cgroup/cpu/cpu.cfs_quota_us'),
    Path('/sys/fs/cgroup/cpu/cpu.cfs_period_us'),
)


def usable_cores() -> int:
    """Return the number of CPU cores that this process may use: by its affinity and its quota."""
    if hasattr(os, 'sched_getaffinity'):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota = _quota()
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def share_cores(environment: MutableMapping[str, str]) -> None:
    """Set how torch's threads wait, and how many there are, where the user has not.

    It has an effect only before torch is imported.

    Args:
        environment: Environment of the process, ``os.environ``.
    """
    if not any(name in environment for name in _POLICIES):
        environment['GOMP_SPINCOUNT'] = _SPINS
    # libgomp knows the affinity, not the quota of a container.
    if 'OMP_NUM_THREADS' not in environment and _quota() is not None:
        environment['OMP_NUM_THREADS'] = str(usable_cores())


def _quota() -> float | None:
    """Return the cores that the process's control group may use at a time; None without a limit."""
    try:
        if _CGROUP_2.is_file():
            limit, period = _CGROUP_2.read_text().split()
        else:
            limit, period = (path.read_text().strip() for path in _CGROUP_1)
        return None if limit in ('max', '-1') else int(limit) / int(period)
    except (OSError, ValueError):
        return None
