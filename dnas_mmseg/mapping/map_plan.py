"""Plans of maps: scenes and their bands, names of the maps, and what exists already."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dnas_mmseg.bands import BandChoice, band_names, choose_bands
from dnas_mmseg.classes import ClassScheme
from dnas_mmseg.errors import UserError
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
from .stac import find_collection_id

if TYPE_CHECKING:
    from mmseg.models import BaseSegmentor

    from .onnx_model import OnnxModel

_STACKS = 'scenes'
"""Folder of the VRTs of scenes of several files, in the folder of the maps."""


@dataclass(frozen=True)
class MapPlan:
    """Maps to write for a list of scenes.

    Attributes:
        out_dir: Folder of the maps.
        jobs: Scenes with outputs to write.
        targets: Path of the map of each scene by its path, whether it is to be written or exists.
        failures: Errors of scenes that cannot be mapped, by path.
        settings: Settings of all scenes.
        resume: Whether outputs that exist are left as they are.
    """

    out_dir: Path
    jobs: tuple[SceneJob, ...]
    targets: dict[str, Path]
    failures: dict[str, Exception]
    settings: MapSettings
    resume: bool


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
    weights = model.dataset_meta.get('weights') or ''
    settings = MapSettings(tiling, products, classes, weights, is_network_forbidden())
    apply_scale = bool(model.dataset_meta.get('apply_scale'))
    wanted, unnamed = (
        band_names(model.dataset_meta.get(key)) for key in ('bands', 'unnamed_bands')
    )
    targets = {path: out_dir / f'{name}.tif' for path, name, _ in inputs}
    jobs: list[SceneJob] = []
    failures: dict[str, Exception] = {}
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
            target = targets[place]
            outputs = find_outputs(info, target, settings, resume)
            if outputs.is_mapped and not outputs.missing:
                continue
            if resume and target.is_file() and not outputs.is_mapped:
                again = f'{target} is mapped again: other weights, or a product is missing'
                scene_notes = (*scene_notes, again)
            # A stack has the names of its bands, whatever the numbers in `bands`.
            choice = choose_bands(
                path, info.band_names, wanted, () if is_stack else override, unnamed
            )
            source = SceneSource(path, choice.index, nodata, apply_scale, skip_bad_blocks)
            notes = (*scene_notes, *choice.notes, *_scaling_notes(info, choice, apply_scale))
            jobs.append(SceneJob(info, source, choice, target, outputs, notes))
        except (UserError, OSError) as error:
            failures[place] = error
    return MapPlan(out_dir, tuple(jobs), targets, failures, settings, resume)


def _name_scenes(
    scenes: Sequence[str | os.PathLike | MultiFileScene | InvalidScene],
) -> list[tuple[str, str, MultiFileScene | str | UserError]]:
    """Return path and name of each scene, with an error in place of a scene that is invalid."""
    found = _find_scenes(scenes)
    stems = {path: scene_stem(s) for path, s in found if not isinstance(s, UserError)}
    stems |= {s.source: s.source for s in scenes if isinstance(s, InvalidScene)}  # have no maps
    names = name_maps([path for path, _ in found], stems)
    return [(path, names[path], scene) for path, scene in found]


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


def _scaling_notes(info: RasterInfo, bands: BandChoice, apply_scale: bool) -> list[str]:
    """Return a note if a model expects scaled samples and a scene declares no scale."""
    if apply_scale and {info.scaling[i] for i in bands.index} == {(1.0, 0.0)}:
        return [
            f'{info.path}: the model expects samples with scale and offset applied, but the scene '
            'declares none'
        ]
    return []


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
