"""Prediction of many scenes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnas_mmseg.bands import BandChoice, band_names, choose_bands
from dnas_mmseg.classes import ClassScheme
from dnas_mmseg.datasets.checks import compare_scalings
from dnas_mmseg.errors import UserError, redact_urls
from dnas_mmseg.files import remove_leftovers
from dnas_mmseg.raster import (
    InvalidScene,
    MultiFileScene,
    Raster,
    RasterInfo,
    distinguish_stems,
    find_scenes_of,
    is_network_forbidden,
    raster_stem,
    resolve_scene,
    scene_stem,
)

from .products import MapProducts
from .scene import SceneSource, Tiling
from .scene_jobs import MapSettings, SceneJob, find_outputs
from .scene_threads import run_jobs
from .stac import find_collection_id, write_collection

if TYPE_CHECKING:
    from mmseg.models import BaseSegmentor

    from .dask_cluster import DaskCluster
    from .onnx_model import OnnxModel


_STACKS = 'scenes'
"""Folder of the VRTs of scenes of several files, in the folder of the maps."""


@dataclass(frozen=True)
class MapPlan:
    """Maps to write for a list of scenes.

    Attributes:
        jobs: Scenes with outputs to write.
        targets: Path of the map of each scene by its path, whether it is to be written or exists.
        failures: Errors of scenes that cannot be mapped, by path.
        settings: Settings of all scenes.
        resume: Whether outputs that exist are left as they are.
    """

    jobs: list[SceneJob]
    targets: dict[str, Path]
    failures: dict[str, Exception]
    settings: MapSettings
    resume: bool

    def check(self, may_fail: bool = True) -> None:
        """Raise the errors of the scenes.

        Args:
            may_fail: Whether scenes may fail as long as others can be mapped.

        Raises:
            SceneError: No scene can be mapped, or one cannot.
        """
        if self.failures and not (self.jobs and may_fail):
            raise _failure(self.failures, len(self.targets))


def plan_scenes(
    model: BaseSegmentor | OnnxModel,
    scenes: Sequence[str | os.PathLike | MultiFileScene | InvalidScene],
    out_dir: str | os.PathLike,
    *,
    bands: Sequence[str] | None = None,
    nodata: float | None = None,
    resume: bool = False,
    shard: tuple[int, int] = (1, 1),
    tiling: Tiling = Tiling(),  # noqa: B008  immutable
    products: MapProducts = MapProducts(),  # noqa: B008  immutable
    skip_bad_blocks: bool = False,
    resampling: str = 'bilinear',
    mask_values: Iterable[int | str] = (),
) -> MapPlan:
    """Check scenes and plan their maps; only the VRTs of scenes of several files are written.

    Args:
        model: Segmentor of :func:`dnas_mmseg.mapping.segmentor.load_segmentor`, or an exported
            model.
        scenes: Paths or GDAL data set names; also products of several files and band patterns
            (:func:`dnas_mmseg.raster.resolve_scenes`), of which the model's bands are stacked in
            ``<out_dir>/scenes``; and scenes and invalid items of
            :func:`dnas_mmseg.raster.read_items`.
        out_dir: Folder of the maps, named like the scenes (:func:`name_maps`).
        bands: Names of the scenes' bands, in file order; they override the names in the files. Of
            scenes of several files, they select the bands.
        nodata: Nodata value in addition to the declared ones.
        resume: Whether to skip maps and products that exist.
        shard: Pair ``(i, n)``: map only the i-th of n parts of the scenes, counted from 1.
        tiling: Windows, flips and precision.
        products: Products to write in addition to the maps.
        skip_bad_blocks: Whether to leave unreadable windows without a class instead of failing.
        resampling: Resampling of coarser bands of scenes of several files: ``'nearest'``,
            ``'bilinear'`` or ``'cubic'``.
        mask_values: Values and bits (``'bit3'``) of the quality band of such scenes that mark
            invalid pixels.

    Returns:
        The plan. Scenes that could not be read, lack a band, or whose maps would overwrite other
        files, are in its ``failures``.

    Raises:
        UserError: A scene is listed twice, the shard is out of range, pystac is not installed, or
            ``collection.json`` in the folder is not a collection of maps.
    """
    part, parts = shard
    if not 1 <= part <= parts:
        raise UserError(f'shard {part}/{parts}: must be from 1/{parts} to {parts}/{parts}')
    out_dir = Path(out_dir)
    if products.stac:
        find_collection_id(out_dir)  # raises an error before the first scene is mapped
    inputs = _name_scenes(scenes)[part - 1 :: parts]
    stacks = out_dir / _STACKS
    folders = {product.path(out_dir / 'x.tif').parent for product in products}
    for folder in (*folders, stacks, stacks / 'bands'):
        remove_leftovers(folder)
    mask_values = list(mask_values)
    override = band_names(bands)
    classes = ClassScheme.from_metainfo(model.dataset_meta)
    settings = MapSettings(tiling, products, classes, is_network_forbidden())
    apply_scale = bool(model.dataset_meta.get('apply_scale'))
    wanted = band_names(model.dataset_meta.get('bands'))
    plan = MapPlan(
        [], {path: out_dir / f'{name}.tif' for path, name, _ in inputs}, {}, settings, resume
    )
    for place, name, scene in inputs:
        try:
            if isinstance(scene, UserError):
                raise scene
            is_stack = isinstance(scene, MultiFileScene)
            path, _, scene_notes = resolve_scene(
                scene,
                stacks,
                name=name,
                bands=bands or wanted,
                resampling=resampling,
                mask_values=mask_values,
            )
            with Raster(path) as raster:
                info = raster.info
            target = plan.targets[place]
            is_mapped, missing = find_outputs(info, target, products, resume)
            if is_mapped and not missing:
                continue
            # A stack has the names of its bands, whatever the numbers in `bands`.
            choice = choose_bands(path, info.band_names, wanted, () if is_stack else override)
            source = SceneSource(path, choice.index, nodata, apply_scale, skip_bad_blocks)
            notes = (*scene_notes, *choice.notes, *_scaling_notes(info, choice, apply_scale))
            plan.jobs.append(SceneJob(info, source, choice, target, is_mapped, missing, notes))
        except (UserError, OSError) as error:
            plan.failures[place] = error
    return plan


def predict_scenes(
    model: BaseSegmentor | OnnxModel,
    scenes: Sequence[str | os.PathLike | MultiFileScene | InvalidScene],
    out_dir: str | os.PathLike,
    *,
    cluster: DaskCluster | None = None,
    track: Callable[[str], Callable[[int, int], None]] = lambda name: lambda done, total: None,
    **options: Any,
) -> dict[Path, list[str]]:
    """Predict the class maps of scenes, one after another or on a cluster.

    All scenes are checked before the first one is mapped. A scene that fails does not stop the
    others.

    Args:
        model, scenes, out_dir: See :func:`plan_scenes`.
        cluster: Cluster that maps the scenes; defaults to this process. It loads the model itself.
        track: Function from a label to a progress callback, which is called with the numbers of
            finished and of all windows.
        **options: Further arguments of :func:`plan_scenes`: ``bands``, ``nodata``, ``resume``,
            ``shard``, ``tiling``, ``products``, ``skip_bad_blocks``, ``resampling``,
            ``mask_values``.

    Returns:
        Notes on assumptions and skipped parts by path of the map, for the maps written by this
        call.

    Raises:
        SceneError: Scenes could not be read or mapped, lack a band, or their maps would overwrite
            other files. It is raised after the other scenes are mapped.
        UserError: See :func:`plan_scenes`.

    Example:
        >>> maps = predict_scenes(
        ...     model, ['a.tif', 'b.tif'], 'maps', products=MapProducts(confidence=True)
        ... )  # doctest: +SKIP
        >>> list(maps)  # doctest: +SKIP
        [PosixPath('maps/a.tif'), PosixPath('maps/b.tif')]
    """
    plan = plan_scenes(model, scenes, out_dir, **options)
    plan.check()
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
            write_collection(out_dir)
        except (UserError, OSError) as error:
            failures[os.fspath(out_dir)] = error
    if notes and not model.dataset_meta.get('apply_scale'):
        scalings = {job.info.scaling: job.info.path for job in reversed(jobs)}
        notes[next(iter(notes))] += compare_scalings(scalings)
    if failures:
        raise _failure(failures, len(plan.targets), notes)
    return notes


def _find_scenes(
    scenes: Sequence[str | os.PathLike | MultiFileScene | InvalidScene],
) -> list[tuple[str, MultiFileScene | str | UserError]]:
    """Return the scenes with their paths; an error in place of a scene that cannot be found."""
    result: list[tuple[str, MultiFileScene | str | UserError]] = []
    for scene in scenes:
        if isinstance(scene, MultiFileScene):
            result.append((scene.source, scene))
            continue
        if isinstance(scene, InvalidScene):
            result.append((scene.source, scene.error))
            continue
        path = os.fspath(scene)
        try:
            found = find_scenes_of(path)
        except UserError as error:
            result.append((path, error))
        else:
            result += [(s if isinstance(s, str) else s.source, s) for s in found]
    return result


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

    Attributes:
        notes: Notes by path of the map, for the scenes that were mapped.
        count: Number of scenes that could not be mapped.
    """

    def __init__(self, message: str, notes: Mapping[Path, list[str]], count: int) -> None:
        super().__init__(message)
        self.notes, self.count = dict(notes), count


_SHOWN = 50
"""Number of failures in a message."""


def _failure(
    failures: Mapping[str, Exception], count: int, notes: Mapping[Path, list[str]] = {}
) -> SceneError:
    lines = [
        redact_urls(str(error) if scene in str(error) else f'{scene}: {error}')
        for scene, error in failures.items()
    ]
    if count == 1:
        return SceneError(lines[0], notes, 1)
    if len(lines) > _SHOWN:
        lines[_SHOWN:] = [f'... and {len(lines) - _SHOWN} more']
    head = f'{len(failures)} of {count} scenes are not mapped; resume (--resume) retries them:'
    return SceneError('\n'.join([head, *(f'  - {line}' for line in lines)]), notes, len(failures))


def _scaling_notes(info: RasterInfo, bands: BandChoice, apply_scale: bool) -> list[str]:
    """Return a note if a model expects scaled samples and a scene declares no scale."""
    if apply_scale and {info.scaling[i] for i in bands.index} == {(1.0, 0.0)}:
        return [
            f'{info.path}: the model expects samples with scale and offset applied, but the scene '
            'declares none'
        ]
    return []


def map_paths(
    scenes: Sequence[str | os.PathLike | MultiFileScene | InvalidScene],
    out_dir: str | os.PathLike,
) -> dict[str, Path]:
    """Return the path of the map of each scene, whether it exists or not.

    Args:
        scenes, out_dir: Arguments of :func:`plan_scenes`.

    Raises:
        UserError: A scene is listed twice, or two scenes cannot be distinguished.
    """
    return {path: Path(out_dir) / f'{name}.tif' for path, name, _ in _name_scenes(scenes)}


def _name_scenes(
    scenes: Sequence[str | os.PathLike | MultiFileScene | InvalidScene],
) -> list[tuple[str, str, MultiFileScene | str | UserError]]:
    """Return path and name of each scene, with an error in place of a scene that is invalid."""
    found = _find_scenes(scenes)
    stems = {path: scene_stem(s) for path, s in found if not isinstance(s, UserError)}
    stems |= {s.source: s.source for s in scenes if isinstance(s, InvalidScene)}  # have no maps
    names = name_maps([path for path, _ in found], stems)
    return [(path, names[path], scene) for path, scene in found]


def name_maps(
    scenes: Sequence[str | os.PathLike], stems: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return unique map names without suffix by scene.

    Maps are named like their scenes, see :func:`dnas_mmseg.raster.distinguish_stems`.

    Args:
        scenes: Paths of the scenes.
        stems: Preferred names by path; default to the file names without suffix.

    Raises:
        UserError: A scene is listed twice, or two scenes cannot be distinguished.

    Example:
        >>> name_maps(['T32/B.tif', 'T33/B.tif', 'C.tif'])
        {'T32/B.tif': 'T32_B', 'T33/B.tif': 'T33_B', 'C.tif': 'C'}
    """
    paths = [os.fspath(scene) for scene in scenes]
    twice = [path for path, count in Counter(paths).items() if count > 1]
    if twice:
        raise UserError(f'{twice[0]} is listed twice')
    return distinguish_stems({path: (stems or {}).get(path, raster_stem(path)) for path in paths})
