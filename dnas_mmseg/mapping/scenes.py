"""Loading of segmentors, and prediction of many scenes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from dnas_mmseg.bands import BandChoice, band_names, choose_bands
from dnas_mmseg.classes import ClassScheme
from dnas_mmseg.datasets.checks import compare_scalings
from dnas_mmseg.datasets.configs import configured_metainfo
from dnas_mmseg.datasets.transforms.loading import selected_bands
from dnas_mmseg.engine.checkpoints import load_exactly, load_weights_and_meta
from dnas_mmseg.errors import UserError, redact_urls
from dnas_mmseg.files import remove_leftovers
from dnas_mmseg.models import switch_to_deploy
from dnas_mmseg.raster import (
    MultiFileScene,
    Raster,
    RasterError,
    RasterInfo,
    distinguish_stems,
    find_scenes_of,
    raster_stem,
    resolve_scene,
    scene_stem,
    source_files,
)

from .exported import require
from .plausibility import describe_deviation
from .products import DerivedProduct, MappedScene, MapProducts
from .scene import SceneSource, Tiling, predict_scene, scene_name

if TYPE_CHECKING:
    from mmseg.models import BaseSegmentor

    from .onnx_model import OnnxModel


def load_segmentor(
    config: Config, checkpoint: str | os.PathLike, device: str | None = None
) -> BaseSegmentor:
    """Load a trained segmentor for inference.

    Args:
        config: Config of the segmentor.
        checkpoint: Path of a checkpoint of this model; all tensors must match.
        device: Device; defaults to a GPU if one is available.

    Returns:
        Model in deployed form (:func:`dnas_mmseg.models.switch_to_deploy`). Its ``dataset_meta``
        has ``classes``, ``palette`` and ``bands`` (input bands in order; empty if unknown), from
        the checkpoint, else from the config.

    Raises:
        CheckpointError: The checkpoint is damaged or belongs to another network.
        UserError: Neither file defines the classes, or the device is not available.

    Example:
        >>> config = Config.fromfile('config.py')  # doctest: +SKIP
        >>> model = load_segmentor(config, 'best.pth', device='cpu')  # doctest: +SKIP
        >>> model.dataset_meta['bands']  # doctest: +SKIP
        ('nir', 'red', 'green', 'blue')
    """
    init_default_scope(config.get('default_scope', 'mmseg'))
    device = check_device(device)
    weights, meta = load_weights_and_meta(checkpoint)
    model = MODELS.build(config.model)
    load_exactly(model, weights, str(checkpoint))
    model = switch_to_deploy(model)
    model.dataset_meta = get_model_metainfo(config, meta)
    return model.to(device)


def check_device(device: str | None) -> str:
    """Return the requested device, or the default one: a GPU if one is available.

    Raises:
        UserError: The device is not available.
    """
    if device is None:
        return get_device()
    gpus = torch.cuda.device_count()
    available = ['cpu', *(f'cuda:{i}' for i in range(gpus))]
    available += ['mps'] if torch.backends.mps.is_available() else []
    if device not in available and not (device == 'cuda' and gpus):
        raise UserError(f"device '{device}' is not available; choose {', '.join(available)}")
    return device


def get_model_metainfo(config: Config, checkpoint_meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return the classes, palette and input bands of a trained model.

    Args:
        config: Config of the model.
        checkpoint_meta: ``dataset_meta`` of its checkpoint, or an empty mapping. It takes
            precedence over the config.

    Raises:
        UserError: Neither source defines the classes.
    """
    meta = {**get_test_metainfo(config), **checkpoint_meta}
    if not meta.get('classes'):
        raise UserError(
            'neither the checkpoint nor the config defines the classes: set '
            'test_dataloader.dataset.metainfo=dict(classes=..., palette=..., bands=...)'
        )
    pipeline = ((config.get('test_dataloader') or {}).get('dataset') or {}).get('pipeline', [])
    bands = selected_bands(pipeline) or band_names(meta.get('use_bands') or meta.get('bands'))
    palette = ClassScheme.from_metainfo(meta).palette
    return {**meta, 'palette': palette, 'bands': bands}


def get_test_metainfo(config: Config) -> dict:
    """Return the classes, palette and bands of a config's test set, if the config defines them."""
    init_default_scope(config.get('default_scope', 'mmseg'))
    dataset = (config.get('test_dataloader') or {}).get('dataset', {})
    metainfo = configured_metainfo(dataset) if dataset else {}
    if metainfo.get('classes'):
        metainfo['palette'] = ClassScheme.from_metainfo(metainfo).palette
    return metainfo


def predict_scenes(
    model: BaseSegmentor | OnnxModel,
    scenes: Sequence[str | os.PathLike],
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
    track: Callable[[str], Callable[[int, int], None]] = lambda name: lambda done, total: None,
) -> dict[Path, list[str]]:
    """Predict the class maps of scenes, one after another.

    All scenes are checked before the first one is mapped. A scene that fails does not stop the
    others.

    Args:
        model: Segmentor of :func:`load_segmentor`, or an exported model.
        scenes: Paths or GDAL data set names; also products of several files and band patterns
            (:func:`dnas_mmseg.raster.resolve_scenes`), of which the model's bands are stacked in
            ``<out_dir>/scenes``.
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
        track: Function from the name of a scene to a progress callback, as ``advance`` of
            :func:`dnas_mmseg.mapping.scene.predict_scene`.

    Returns:
        Notes on assumptions and skipped parts by path of the map, for the maps written by this
        call.

    Raises:
        SceneError: Scenes could not be read or mapped, lack a band, or their maps would overwrite
            other files. It is raised after the other scenes are mapped.
        UserError: A scene is listed twice, the shard is out of range, or pystac is not installed.

    Example:
        >>> maps = predict_scenes(
        ...     model, ['a.tif', 'b.tif'], 'maps', products=MapProducts(confidence=True)
        ... )  # doctest: +SKIP
        >>> list(maps)  # doctest: +SKIP
        [PosixPath('maps/a.tif'), PosixPath('maps/b.tif')]
    """
    part, parts = shard
    if not 1 <= part <= parts:
        raise UserError(f'shard {part}/{parts}: must be from 1/{parts} to {parts}/{parts}')
    if products.stac:
        require('pystac', 'stac')
    out_dir = Path(out_dir)
    inputs = _find_scenes(scenes)
    stems = {path: scene_stem(s) for path, s in inputs if not isinstance(s, UserError)}
    names = list(name_maps([path for path, _ in inputs], stems).items())[part - 1 :: parts]
    by_path = dict(inputs)
    stacks = out_dir / _STACKS
    folders = {product.path(out_dir / 'x.tif').parent for product in products}
    for folder in (*folders, stacks, stacks / 'bands'):
        remove_leftovers(folder)
    mask_values = list(mask_values)
    override = band_names(bands)
    classes = ClassScheme.from_metainfo(model.dataset_meta)
    apply_scale = bool(model.dataset_meta.get('apply_scale'))
    wanted = band_names(model.dataset_meta.get('bands'))
    todo: list[_SceneJob] = []
    failures: dict[str, Exception] = {}
    for scene, name in names:  # all are checked before the first is mapped
        try:
            found_scene = by_path[scene]
            if isinstance(found_scene, UserError):
                raise found_scene
            is_stack = isinstance(found_scene, MultiFileScene)
            path, _, scene_notes = resolve_scene(
                found_scene,
                stacks,
                name=name,
                bands=bands or wanted,
                resampling=resampling,
                mask_values=mask_values,
            )
            job = _plan_scene(path, out_dir / f'{name}.tif', products, resume)
            if not job.mapped or job.missing:
                # A stack has the names of its bands, whatever the numbers in `bands`.
                choice = choose_bands(
                    job.info.path, job.info.band_names, wanted, () if is_stack else override
                )
                choice = choice._replace(notes=(*scene_notes, *choice.notes))
                todo.append(job._replace(bands=choice))
        except (UserError, OSError) as error:
            failures[scene] = error
    if failures and not todo:
        raise _failure(failures, len(names))
    notes: dict[Path, list[str]] = {}
    for work in todo:
        info, target = work.info, work.target
        found = list(work.bands.notes) + _scaling_notes(work, apply_scale)
        try:
            if not work.mapped:
                with Raster(info.path, nodata, apply_scale) as raster:
                    found += describe_deviation(model, raster, work.bands.index, work.bands.names)
                source = SceneSource(
                    info.path, work.bands.index, nodata, apply_scale, skip_bad_blocks
                )
                found += predict_scene(
                    model,
                    source,
                    target,
                    tiling=tiling,
                    products=products,
                    advance=track(target.stem),
                )
            mapped = MappedScene(info, work.bands, nodata, skip_bad_blocks, target, classes)
            found += [note for product in work.missing for note in product.write(mapped)]
        except (UserError, OSError) as error:
            failures[info.path] = error
        else:
            notes[target] = found
    if not apply_scale and notes:
        scalings = {w.info.scaling: w.info.path for w in reversed(todo)}
        notes[next(iter(notes))] += compare_scalings(scalings)
    if failures:
        raise _failure(failures, len(names), notes)
    return notes


_STACKS = 'scenes'
"""Folder of the VRTs of scenes of several files, in the folder of the maps."""


def _find_scenes(
    paths: Sequence[str | os.PathLike],
) -> list[tuple[str, MultiFileScene | str | UserError]]:
    """Return the scenes with their paths; an error in place of a scene that cannot be found."""
    result: list[tuple[str, MultiFileScene | str | UserError]] = []
    for path in (os.fspath(path) for path in paths):
        try:
            scenes = find_scenes_of(path)
        except UserError as error:
            result.append((path, error))
        else:
            result += [(s if isinstance(s, str) else s.source, s) for s in scenes]
    return result


class SceneError(UserError):
    """Report scenes that could not be mapped.

    Attributes:
        notes: Notes by path of the map, for the scenes that were mapped.
    """

    def __init__(self, message: str, notes: Mapping[Path, list[str]]) -> None:
        super().__init__(message)
        self.notes = dict(notes)


def _failure(
    failures: Mapping[str, Exception], count: int, notes: Mapping[Path, list[str]] = {}
) -> SceneError:
    lines = [
        redact_urls(str(error) if scene in str(error) else f'{scene}: {error}')
        for scene, error in failures.items()
    ]
    if count == 1:
        return SceneError(lines[0], notes)
    head = f'{len(failures)} of {count} scenes are not mapped; resume (--resume) retries them:'
    return SceneError('\n'.join([head, *(f'  - {line}' for line in lines)]), notes)


def _plan_scene(scene: str, target: Path, products: MapProducts, resume: bool) -> _SceneJob:
    """Read the metadata of a scene and check its output paths.

    Raises:
        UserError: An existing file would be overwritten that is not a map of this scene.
    """
    with Raster(scene) as raster:
        info = raster.info
    rasters = [product.path(target) for product in products.rasters]
    others = [product.path(target) for product in products.derived]
    others.append(target.with_name(f'{target.name}.aux.xml'))
    files = source_files(scene)
    for path in (path for path in (*rasters, *others) if path.exists()):
        if path.resolve() in files:
            own = path.resolve() == Path(scene).resolve()
            what = 'the scene itself' if own else f'its source {path}'
            raise UserError(f'{scene}: the map would overwrite {what}; choose another --out-dir')
        if not _is_map_of(path if path in rasters else target, scene, info):
            raise UserError(
                f'{path} exists and does not belong to a map of {scene}: choose another '
                '--out-dir, or move the file'
            )
    mapped = resume and all(path.is_file() for path in rasters)
    missing = [p for p in products.derived if not (mapped and p.path(target).is_file())]
    return _SceneJob(info, target, BandChoice((), ()), mapped, missing)


def _is_map_of(path: Path, scene: str, info: RasterInfo) -> bool:
    """Return whether a file is a map of a scene, written by this package."""
    try:
        with Raster(path) as raster:
            found = raster.info
    except RasterError:
        return False
    places = found.georeference.transform, info.georeference.transform
    return (found.map_of, found.shape) == (scene_name(scene), info.shape) and places[0] == places[1]


def _scaling_notes(work: _SceneJob, apply_scale: bool) -> list[str]:
    """Return a note if a model expects scaled samples and a scene declares no scale."""
    scaling = {work.info.scaling[i] for i in work.bands.index}
    if apply_scale and scaling == {(1.0, 0.0)}:
        return [
            f'{work.info.path}: the model expects samples with scale and offset applied, but the '
            'scene declares none'
        ]
    return []


class _SceneJob(NamedTuple):
    """Outputs to write for a scene.

    Attributes:
        info: Metadata of the scene.
        target: Path of its map.
        bands: Input bands.
        mapped: Whether the map and all raster products exist.
        missing: Derived products to write.
    """

    info: RasterInfo
    target: Path
    bands: BandChoice
    mapped: bool
    missing: list[DerivedProduct]


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
