"""Prediction of many scenes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnas_mmseg.datasets.checks import compare_scalings
from dnas_mmseg.errors import UserError, redact_urls
from dnas_mmseg.raster import InvalidScene, MultiFileScene

from .map_plan import MapPlan, plan_scenes
from .scene_jobs import SceneJob
from .scene_threads import run_jobs
from .stac import write_collection

if TYPE_CHECKING:
    from mmseg.models import BaseSegmentor

    from .dask_cluster import DaskCluster
    from .onnx_model import OnnxModel


def predict_scenes(
    model: BaseSegmentor | OnnxModel,
    scenes: Sequence[str | os.PathLike | MultiFileScene | InvalidScene],
    out_dir: str | os.PathLike,
    *,
    cluster: DaskCluster | None = None,
    track: Callable[[str], Callable[[int, int], None]] = lambda name: lambda done, total: None,
    **options: Any,
) -> dict[Path, list[str]]:
    """Plan and predict the class maps of scenes, one after another or on a cluster.

    All scenes are checked before the first one is mapped. A scene that fails does not stop the
    others.

    Args:
        model, scenes, out_dir: See :func:`dnas_mmseg.mapping.map_plan.plan_scenes`.
        cluster, track: See :func:`predict_plan`.
        **options: Further arguments of ``plan_scenes``: ``bands``, ``nodata``, ``resume``,
            ``shard``, ``tiling``, ``products``, ``skip_bad_blocks``, ``resampling``,
            ``mask_values``.

    Returns:
        Notes by path of the map, see :func:`predict_plan`.

    Raises:
        SceneError: See :func:`predict_plan`.
        UserError: See ``plan_scenes``.

    Example:
        >>> maps = predict_scenes(
        ...     model, ['a.tif', 'b.tif'], 'maps', products=MapProducts(confidence=True)
        ... )  # doctest: +SKIP
        >>> list(maps)  # doctest: +SKIP
        [PosixPath('maps/a.tif'), PosixPath('maps/b.tif')]
    """
    return predict_plan(plan_scenes(model, scenes, out_dir, **options), model, cluster, track)


def predict_plan(
    plan: MapPlan,
    model: BaseSegmentor | OnnxModel,
    cluster: DaskCluster | None = None,
    track: Callable[[str], Callable[[int, int], None]] = lambda name: lambda done, total: None,
) -> dict[Path, list[str]]:
    """Predict planned maps.

    Args:
        plan: The plan.
        model: Model of the plan.
        cluster: Cluster that maps the scenes; defaults to this process. It loads the model itself.
        track: Function from a label to a progress callback, which is called with the numbers of
            finished and of all windows.

    Returns:
        Notes on assumptions and skipped parts by path of the map, for the maps written by this
        call.

    Raises:
        SceneError: Scenes could not be read or mapped, lack a band, or their maps would overwrite
            other files. It is raised after the other scenes are mapped.
    """
    jobs, failures = plan.jobs, dict(plan.failures)
    notes: dict[Path, list[str]] = {}
    for job, outcome in _run(plan, model, cluster, track):
        if isinstance(outcome, Exception):
            failures[job.info.path] = outcome
        else:
            notes[job.target] = outcome
    notes = {job.target: notes[job.target] for job in jobs if job.target in notes}
    if plan.settings.products.stac:
        try:
            write_collection(plan.out_dir)
        except (UserError, OSError) as error:
            failures[os.fspath(plan.out_dir)] = error
    if notes and not model.dataset_meta.get('apply_scale'):
        scalings = {
            tuple(job.info.scaling[i] for i in job.bands.index): job.info.path
            for job in reversed(jobs)
        }
        notes[next(iter(notes))] += compare_scalings(scalings)
    if failures:
        raise SceneError(failures, len(plan.targets), notes)
    return notes


def _run(
    plan: MapPlan,
    model: BaseSegmentor | OnnxModel,
    cluster: DaskCluster | None,
    track: Callable[[str], Callable[[int, int], None]],
) -> Iterable[tuple[SceneJob, list[str] | Exception]]:
    """Run the jobs of a plan; return each with its notes or its error."""
    jobs = plan.jobs
    if not jobs:
        return ()
    advance = track(f'{len(jobs)} scenes' if len(jobs) > 1 else jobs[0].target.stem)
    if cluster is None:
        return run_jobs(model, jobs, plan.settings, advance)
    return cluster.run(jobs, plan.settings, resume=plan.resume, advance=advance)


class SceneError(UserError):
    """Report scenes that could not be mapped.

    Args:
        failures: Errors by path of the scene.
        total: Number of all scenes.
        notes: Notes by path of the map, for the scenes that were mapped.

    Attributes:
        notes: See above.
        count: Number of scenes that could not be mapped.
    """

    def __init__(
        self, failures: Mapping[str, Exception], total: int, notes: Mapping[Path, list[str]] = {}
    ) -> None:
        lines = [
            redact_urls(str(error) if scene in str(error) else f'{scene}: {error}')
            for scene, error in failures.items()
        ]
        if total > 1:
            more = len(lines) - _SHOWN
            lines[_SHOWN:] = [f'... and {more} more'] if more > 0 else []
            head = f'{len(failures)} of {total} scenes are not mapped'
            lines = [f'{head}; resume (--resume) retries them:', *(f'  - {line}' for line in lines)]
        super().__init__('\n'.join(lines))
        self.notes, self.count = dict(notes), len(failures)


_SHOWN = 50
"""Number of failures in a message."""
