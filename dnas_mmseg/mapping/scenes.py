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
from mmseg.registry import DATASETS, MODELS

from dnas_mmseg.bands import BandChoice, band_names, choose_bands
from dnas_mmseg.datasets import DatasetDescription
from dnas_mmseg.datasets.labels import default_palette
from dnas_mmseg.datasets.transforms.loading import selected_bands
from dnas_mmseg.engine.checkpoints import load_exactly, load_weights_and_meta
from dnas_mmseg.errors import UserError
from dnas_mmseg.models import switch_to_deploy
from dnas_mmseg.raster import (
    Raster,
    RasterError,
    RasterInfo,
    is_virtual,
    raster_stem,
    write_polygons,
)
from dnas_mmseg.visualization import save_quick_look

from .products import MapProducts
from .qgis_style import write_qgis_style
from .scene import Tiling, predict_scene
from .stac import write_map_item

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
    palette = meta.get('palette') or default_palette(len(meta['classes']))
    return {**meta, 'palette': palette, 'bands': bands}


def dataset_facts(config: Config) -> dict:
    """Return classes, palette and bands of a config's test set, as far as the config tells them."""
    init_default_scope(config.get('default_scope', 'mmseg'))
    dataset = (config.get('test_dataloader') or {}).get('dataset', {})
    known = DATASETS.get(dataset['type']) if dataset else None
    described = DatasetDescription.load(dataset.get('data_root')).metainfo
    facts = {**getattr(known, 'METAINFO', {}), **described, **dataset.get('metainfo', {})}
    if facts.get('classes') and not facts.get('palette'):
        facts['palette'] = default_palette(len(facts['classes']))
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
        UserError: A scene is given twice or lacks a band, or there is no such shard.
    """
    part, parts = shard
    if not 1 <= part <= parts:
        raise UserError(f'shard {part}/{parts}: the first is 1/{parts}')
    out_dir = Path(out_dir)
    targets: dict[Path, str] = {}
    for scene, name in map_names(scenes).items():
        target = out_dir / f'{name}.tif'
        if not is_virtual(scene) and target.resolve() == Path(scene).resolve():
            raise UserError(f'{scene}: its map would overwrite it; choose another --out-dir')
        targets[target] = scene
    given = band_names(bands)
    facts = {key: model.dataset_meta[key] for key in ('classes', 'palette')}
    wanted = band_names(model.dataset_meta.get('bands'))
    todo: list[_SceneJob] = []
    for target, scene in list(targets.items())[part - 1 :: parts]:
        beside = products.paths(target)
        rasters = [target, *(p for p in beside.values() if p.suffix == '.tif')]
        mapped = resume and all(path.is_file() for path in rasters)
        missing = {k: p for k, p in beside.items() if not (mapped and p.is_file())}
        if not mapped or missing:
            with Raster(scene) as raster:  # all are looked at before the first is mapped
                info = raster.info
                choice = choose_bands(info.path, info.told, wanted, given)
                todo.append(_SceneJob(info, target, choice, mapped, missing))
    notes: dict[Path, list[str]] = {}
    for work in todo:
        info, target = work.info, work.target
        notes[target] = list(work.bands.notes)
        if not work.mapped:
            notes[target] += predict_scene(
                model,
                info.path,
                target,
                **facts,
                bands=work.bands.index,
                nodata=nodata,
                tiling=tiling,
                products=products,
                skip_bad_blocks=skip_bad_blocks,
                advance=track(target.stem),
            )
        if 'quick_look' in work.missing:
            path = work.missing['quick_look']
            index, names, _ = work.bands
            try:
                save_quick_look(
                    path, info.path, target, bands=names, index=index, nodata=nodata, **facts
                )
            except RasterError as error:
                if not skip_bad_blocks:
                    raise
                notes[target].append(f'no quick look: {error}')
        if 'polygons' in work.missing:
            write_polygons(
                target,
                work.missing['polygons'],
                facts['classes'],
                min_pixels=products.min_pixels,
                simplify=products.simplify,
            )
        if 'qgis_style' in work.missing:
            write_qgis_style(work.missing['qgis_style'], **facts)
        if 'stac' in work.missing:
            notes[target] += write_map_item(work.missing['stac'], target, info, **facts)
    return notes


class _SceneJob(NamedTuple):
    """Work to be done for a scene."""

    info: RasterInfo
    target: Path
    bands: BandChoice
    mapped: bool
    missing: dict[str, Path]


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
