"""Maps of many scenes from a config and a checkpoint."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
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
from dnas_mmseg.errors import UserError
from dnas_mmseg.files import remove_leftovers
from dnas_mmseg.models import switch_to_deploy
from dnas_mmseg.raster import (
    Raster,
    RasterError,
    RasterInfo,
    raster_stem,
    source_files,
)

from .exported import require
from .products import DerivedProduct, MappedScene, MapProducts
from .scene import SceneSource, Tiling, predict_scene, scene_name

if TYPE_CHECKING:
    from mmseg.models import BaseSegmentor

    from .onnx_model import OnnxModel


def load_segmentor(
    config: Config, checkpoint: str | os.PathLike, device: str | None = None
) -> BaseSegmentor:
    """Return a trained segmentor, ready to predict.

    Args:
        config: Config of the segmentor.
        checkpoint: Path of a checkpoint of exactly this model.
        device: Device of the model; by default a GPU where there is one.

    Returns:
        Model in the form that predicts fastest (:func:`dnas_mmseg.models.switch_to_deploy`);
        ``model.dataset_meta`` has ``classes``, ``palette`` and ``bands`` (those it takes, in its
        order; empty where they are not known), from the checkpoint, else from the config.

    Raises:
        CheckpointError: The checkpoint is damaged, or of another network.
        UserError: The classes are in neither, or there is no such device.
    """
    init_default_scope(config.get('default_scope', 'mmseg'))
    device = check_device(device)
    weights, meta = load_weights_and_meta(checkpoint)
    model = MODELS.build(config.model)
    load_exactly(model, weights, str(checkpoint))
    model = switch_to_deploy(model)
    model.dataset_meta = model_facts(config, meta)
    return model.to(device)


def check_device(device: str | None) -> str:
    """Return the device for a model: the one that is named, or a GPU where there is one.

    Raises:
        UserError: There is no such device here.
    """
    if device is None:
        return get_device()
    gpus = torch.cuda.device_count()
    here = ['cpu', *(f'cuda:{i}' for i in range(gpus))]
    here += ['mps'] if torch.backends.mps.is_available() else []
    known = device in here or (device == 'cuda' and gpus > 0)
    if not known:
        raise UserError(f"device '{device}': there are {', '.join(here)} on this machine")
    return device


def model_facts(config: Config, checkpoint_meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return the classes and palette of a trained model, and the bands it takes, in its order.

    Args:
        config: Config of the model.
        checkpoint_meta: Content of ``dataset_meta`` in its checkpoint, as far as there is one; it
            counts more than the config.

    Raises:
        UserError: The classes are in neither.
    """
    meta = {**dataset_facts(config), **checkpoint_meta}
    if not meta.get('classes'):
        raise UserError(
            'neither the checkpoint nor the config tells the classes: give the config '
            'test_dataloader.dataset.metainfo=dict(classes=..., palette=..., bands=...)'
        )
    pipeline = ((config.get('test_dataloader') or {}).get('dataset') or {}).get('pipeline', [])
    bands = selected_bands(pipeline) or band_names(meta.get('bands'))
    palette = ClassScheme.from_metainfo(meta).palette
    return {**meta, 'palette': palette, 'bands': bands}


def dataset_facts(config: Config) -> dict:
    """Return classes, palette and bands of a config's test set, as far as the config tells them."""
    init_default_scope(config.get('default_scope', 'mmseg'))
    dataset = (config.get('test_dataloader') or {}).get('dataset', {})
    facts = configured_metainfo(dataset) if dataset else {}
    if facts.get('classes'):
        facts['palette'] = ClassScheme.from_metainfo(facts).palette
    return facts


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
    track: Callable[[str], Callable[[int, int], None]] = lambda name: lambda done, total: None,
) -> dict[Path, list[str]]:
    """Map scenes, one after another.

    Args:
        model: Segmentor of :func:`load_segmentor`; or an exported one.
        scenes: Paths or names of anything that GDAL reads.
        out_dir: Folder of the maps, which have the scenes' names; scenes of one name get that of
            their folder before it (:func:`map_names`).
        bands: Names of the scenes' bands, in file order; they win over what the files say.
        nodata: Value that is nodata beside what the scenes declare.
        resume: Whether to make only what is not there yet.
        shard: Pair ``(i, n)``: only the i-th of n parts of the scenes is mapped, counted from 1.
        tiling: Windows, flips and precision.
        products: Products to make beside the maps.
        skip_bad_blocks: Whether to leave windows that cannot be read without a class.
        track: Function that is called with each scene's name; it returns the function that shows
            progress.

    Returns:
        Maps that were written now, with what was assumed or passed over in each, a line each.

    Raises:
        SceneError: Scenes could not be read or mapped, lack a band, or their maps would overwrite
            other files; the other scenes are mapped before.
        UserError: A scene is given twice, or there is no such shard, or pystac is missing.
    """
    part, parts = shard
    if not 1 <= part <= parts:
        raise UserError(f'shard {part}/{parts}: the first is 1/{parts}')
    if products.stac:
        require('pystac', 'stac')
    out_dir = Path(out_dir)
    names = list(map_names(scenes).items())[part - 1 :: parts]
    for folder in {product.path(out_dir / 'x.tif').parent for product in products}:
        remove_leftovers(folder)
    given = band_names(bands)
    classes = ClassScheme.from_metainfo(model.dataset_meta)
    apply_scale = bool(model.dataset_meta.get('apply_scale'))
    wanted = band_names(model.dataset_meta.get('bands'))
    todo: list[_SceneJob] = []
    failures: dict[str, Exception] = {}
    for scene, name in names:  # all are looked at before the first is mapped
        try:
            job = _plan_scene(scene, out_dir / f'{name}.tif', products, resume)
            if not job.mapped or job.missing:
                choice = choose_bands(job.info.path, job.info.band_names, wanted, given)
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


class SceneError(UserError):
    """Scenes that could not be mapped; the message lists them.

    Attributes:
        notes: Maps that were written all the same, with their notes.
    """

    def __init__(self, message: str, notes: Mapping[Path, list[str]]) -> None:
        super().__init__(message)
        self.notes = dict(notes)


def _failure(
    failures: Mapping[str, Exception], count: int, notes: Mapping[Path, list[str]] = {}
) -> SceneError:
    lines = [
        str(error) if scene in str(error) else f'{scene}: {error}'
        for scene, error in failures.items()
    ]
    if count == 1:
        return SceneError(lines[0], notes)
    head = f'{len(failures)} of {count} scenes are not mapped; resume (--resume) tries them again:'
    return SceneError('\n'.join([head, *(f'  - {line}' for line in lines)]), notes)


def _plan_scene(scene: str, target: Path, products: MapProducts, resume: bool) -> _SceneJob:
    """Look at a scene and at what lies where its map and products go.

    Raises:
        UserError: A file there is none of this scene's maps, but would be overwritten.
    """
    with Raster(scene) as raster:
        info = raster.info
    rasters = [product.path(target) for product in products.rasters]
    others = [product.path(target) for product in products.derived]
    others.append(target.with_name(f'{target.name}.aux.xml'))
    files = source_files(scene)
    for path in (path for path in (*rasters, *others) if path.exists()):
        if path.resolve() in files:
            what = 'it' if path.resolve() == Path(scene).resolve() else f'{path}, which it reads'
            raise UserError(f'{scene}: its map would overwrite {what}; choose another --out-dir')
        if not _is_map_of(path if path in rasters else target, scene, info):
            raise UserError(
                f'{path} is there already, and is not of a map of {scene}: choose another '
                '--out-dir, or move it away'
            )
    mapped = resume and all(path.is_file() for path in rasters)
    missing = [p for p in products.derived if not (mapped and p.path(target).is_file())]
    return _SceneJob(info, target, BandChoice((), ()), mapped, missing)


def _is_map_of(path: Path, scene: str, info: RasterInfo) -> bool:
    """Return whether a file is a map that this package has made of a scene."""
    try:
        with Raster(path) as raster:
            found = raster.info
    except RasterError:
        return False
    places = found.georeference.transform, info.georeference.transform
    return (found.map_of, found.shape) == (scene_name(scene), info.shape) and places[0] == places[1]


def _scaling_notes(work: _SceneJob, apply_scale: bool) -> list[str]:
    """Return a note where a model takes scaled samples and a scene does not say the scale."""
    scaling = {work.info.scaling[i] for i in work.bands.index}
    if apply_scale and scaling == {(1.0, 0.0)}:
        return [
            f'{work.info.path}: the model takes samples with scale and offset applied, and the '
            'scene declares none'
        ]
    return []


class _SceneJob(NamedTuple):
    """Work to be done for a scene."""

    info: RasterInfo
    target: Path
    bands: BandChoice
    mapped: bool
    missing: list[DerivedProduct]


def map_names(scenes: Sequence[str | os.PathLike]) -> dict[str, str]:
    """Return the name of each scene's map, without a suffix.

    It is the scene's name. Where several scenes have one name, as in the folders of Sentinel-2 or
    Planet, it is preceded by the names of as many folders above as make a difference.

    Raises:
        UserError: A scene is given twice.
    """
    paths = [os.fspath(scene) for scene in scenes]
    twice = [path for path, count in Counter(paths).items() if count > 1]
    if twice:
        raise UserError(f'{twice[0]} is given twice')
    names = {path: raster_stem(path) for path in paths}
    parents = {path: [part for part in Path(path).parts[:-1] if part.strip('/.')] for path in paths}
    while True:
        count = Counter(names.values())
        clashing = [path for path in paths if count[names[path]] > 1]
        if not clashing:
            return names
        if not any(parents[path] for path in clashing):
            raise UserError(f'{clashing[0]} and {clashing[1]} would have the same map')
        for path in clashing:
            if parents[path]:
                names[path] = f'{parents[path].pop()}_{names[path]}'
