"""Estimated cost of planned maps."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from dnas_mmseg.raster import source_files

from .scene import Tiling
from .scene_jobs import SceneJob, count_windows
from .windows import SegmentorWindows, average_flips

if TYPE_CHECKING:
    from mmseg.models import BaseSegmentor

    from .windows import WindowModel


@dataclass(frozen=True)
class MapEstimate:
    """Cost of planned maps, as an upper limit: windows without a valid pixel are skipped.

    Attributes:
        scenes: Number of scenes to map.
        windows: Number of windows of these scenes.
        gigapixels: Size of these scenes.
        stored_bytes: Size of their local files; those of remote ones are unknown.
        sample_bytes: Size of the samples to read, uncompressed.
    """

    scenes: int
    windows: int
    gigapixels: float
    stored_bytes: int
    sample_bytes: int


def estimate_maps(jobs: Sequence[SceneJob], tiling: Tiling) -> MapEstimate:
    """Estimate the cost of planned maps.

    Args:
        jobs: Planned scenes, ``jobs`` of :func:`dnas_mmseg.mapping.map_plan.plan_scenes`.
        tiling: Windows of the maps.
    """
    jobs = [job for job in jobs if not job.outputs.is_mapped]
    windows = [count_windows(job, tiling) for job in jobs]
    files = {path for job in jobs for path in source_files(job.info.path)}
    samples = 0
    for job, count in zip(jobs, windows, strict=True):
        size = min(tiling.window, job.info.height) * min(tiling.window, job.info.width)
        types = [np.dtype(job.info.dtypes[i]).itemsize for i in job.bands.index]
        samples += count * size * sum(types)
    return MapEstimate(
        len(jobs),
        sum(windows),
        sum(job.info.height * job.info.width for job in jobs) / 1e9,
        sum(os.path.getsize(path) for path in files),
        samples,
    )


def time_windows(
    model: BaseSegmentor | WindowModel, bands: int, tiling: Tiling, repeats: int = 3
) -> float:
    """Return the seconds of a window in this process, the median of full batches of noise.

    Args:
        model: Segmentor in evaluation mode, or an exported model.
        bands: Number of input bands.
        tiling: Windows, batch, flips and precision.
        repeats: Number of batches, after one that is not counted.
    """
    windows = SegmentorWindows(model, tiling.precision) if isinstance(model, nn.Module) else model
    size = (bands, tiling.window, tiling.window)
    images = [torch.randint(0, 255, size, dtype=torch.uint8) for _ in range(tiling.batch)]
    seconds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        if tiling.flips:
            average_flips(windows, images)
        else:
            windows.logits(images)
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds[1:])) / tiling.batch
