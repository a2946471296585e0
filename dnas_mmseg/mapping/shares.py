"""Division of scenes among workers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from .row_blocks import RowBlock, split_rows
from .scene import Tiling, scene_windows
from .scene_jobs import SceneJob, count_windows

_GROUP = 64
"""Windows of a group of small scenes: enough that Dask's overhead of milliseconds is small."""

_BLOCK = 2000
"""Largest number of windows of a task, some minutes of work, which is lost with a worker."""

_MIN_ROWS = 4
"""Smallest number of rows of windows of a block, which also requires a row of its neighbour."""


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
