"""From a config and a checkpoint to maps of many scenes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS
from torch import nn

from dnas_mmseg.datasets import DatasetDescription
from dnas_mmseg.errors import UserError
from dnas_mmseg.models import switch_to_deploy
from dnas_mmseg.raster import Raster, RasterError, RasterInfo, band_names, write_polygons
from dnas_mmseg.visualization import save_quick_look

from .checkpoint_conversion import load_exactly, load_weights_and_meta
from .scene_prediction import predict_scene
from .window_models import WindowModel


def load_segmentor(
    config: Config, checkpoint: str | os.PathLike, device: str | None = None
) -> nn.Module:
    """A trained segmentor, ready to predict.

    Args:
        config: Its config.
        checkpoint: A checkpoint of exactly this model.
        device: Where it goes; a GPU where there is one.

    Returns:
        The model in the form that predicts fastest (:func:`dnas_mmseg.models.switch_to_deploy`);
        ``model.dataset_meta`` has ``classes``, ``palette`` and
        ``bands`` (those it takes, in its order; empty where they are not known), from the
        checkpoint, else from the config.

    Raises:
        CheckpointError: The checkpoint is damaged, or of another network.
        UserError: Neither tells the classes.
    """
    init_default_scope(config.get('default_scope', 'mmseg'))
    weights, meta = load_weights_and_meta(checkpoint)
    model = MODELS.build(config.model)
    load_exactly(model, weights, str(checkpoint))
    model = switch_to_deploy(model)
    model.dataset_meta = model_facts(config, meta)
    try:
        return model.to(device or get_device())
    except (RuntimeError, AssertionError) as error:
        raise UserError(f'device {device}: {str(error).splitlines()[0]}') from None


def model_facts(config: Config, checkpoint_meta: Mapping[str, Any]) -> dict[str, Any]:
    """Classes and palette of a trained model, and the bands it takes, in its order.

    Args:
        config: Its config.
        checkpoint_meta: ``dataset_meta`` of its checkpoint, as far as there is one; it counts more
            than the config.

    Raises:
        UserError: Neither tells the classes.
    """
    meta = {**dataset_facts(config), **checkpoint_meta}
    if not meta.get('classes'):
        raise UserError(
            'neither the checkpoint nor the config tells the classes: give the config '
            'test_dataloader.dataset.metainfo=dict(classes=..., palette=..., bands=...)'
        )
    pipeline = ((config.get('test_dataloader') or {}).get('dataset') or {}).get('pipeline', [])
    chosen = [step['bands'] for step in pipeline if step['type'] == 'SelectBands']
    return {**meta, 'bands': band_names(chosen[-1] if chosen else meta.get('bands'))}


def dataset_facts(config: Config) -> dict:
    """Classes, palette and bands of a config's test set, as far as the config tells them."""
    init_default_scope(config.get('default_scope', 'mmseg'))
    dataset = (config.get('test_dataloader') or {}).get('dataset', {})
    known = DATASETS.get(dataset['type']) if dataset else None
    described = DatasetDescription.load(dataset.get('data_root')).metainfo
    return {**getattr(known, 'METAINFO', {}), **described, **dataset.get('metainfo', {})}


def choose_bands(
    info: RasterInfo, wanted: Sequence[str], given: Sequence[str] | None = None
) -> list[int]:
    """Which bands of a scene a model takes, from 0, in the model's order.

    Args:
        info: The scene.
        wanted: The model's bands by name; where they are not known, all bands are taken.
        given: The scene's bands by name, where its file does not say them, or says them wrongly.

    Raises:
        UserError: A band is missing, or the scene's bands cannot be told.
    """
    names = band_names(given) or info.names
    if given and len(names) != info.bands:
        raise UserError(
            f'{info.path} has {info.bands} bands, but {len(names)} are named ({", ".join(names)})'
        )
    if not wanted:
        return list(range(info.bands))
    missing = [name for name in wanted if name not in names]
    if names and not missing:
        return [names.index(name) for name in wanted]
    if given or len(wanted) != info.bands or (names and len(missing) < len(wanted)):
        raise UserError(
            f'{info.path}: the model takes {", ".join(wanted)}; the scene has '
            f'{", ".join(names) if names else f"{info.bands} bands without names"}: say what they '
            'are, in file order (`bands`)'
        )
    # Descriptions such as "Band 1" tell nothing; the count fits, so the order is taken to fit.
    return list(range(info.bands))


def predict_scenes(
    model: nn.Module | WindowModel,
    scenes: Sequence[str | os.PathLike],
    out_dir: str | os.PathLike,
    *,
    bands: Sequence[str] | None = None,
    resume: bool = False,
    shard: tuple[int, int] = (1, 1),
    confidence: bool = False,
    probabilities: bool = False,
    quick_look: bool = False,
    polygons: bool = False,
    skip_bad_blocks: bool = False,
    track: Callable[[str], Callable[[int, int], None]] = lambda name: lambda done, total: None,
    **options: Any,
) -> dict[Path, list[str]]:
    """Map scenes, one after another.

    Args:
        model: As :func:`load_segmentor` returns it; or an exported one.
        scenes: Files that GDAL reads.
        out_dir: Where the maps go, under the scenes' names.
        bands: The scenes' bands by name, in file order.
        resume: Make only what is not there yet.
        shard: ``(i, n)``: only the i-th of n parts of the scenes, counted from 1.
        confidence, probabilities, skip_bad_blocks: See :func:`predict_scene`.
        quick_look: Also draw ``quick_look/<name>.png``.
        polygons: Also write ``polygons/<name>.gpkg``.
        track: Called with each scene's name; returns what is told the progress.
        **options: See :func:`predict_scene`.

    Returns:
        The maps written now, with what was passed over in each.

    Raises:
        UserError: Two scenes have one name, a scene lacks a band, or the shard makes no sense.
    """
    part, parts = shard
    if not 1 <= part <= parts:
        raise UserError(f'shard {part}/{parts}: the first is 1/{parts}')
    out_dir = Path(out_dir)
    targets: dict[Path, str | os.PathLike] = {}
    for scene in scenes:
        target = out_dir / f'{Path(scene).stem}.tif'
        if target.resolve() == Path(scene).resolve():
            raise UserError(f'{scene}: its map would overwrite it; choose another --out-dir')
        if target in targets:
            raise UserError(f'{scene} and {targets[target]} would have the same map {target}')
        targets[target] = scene
    facts = {key: model.dataset_meta[key] for key in ('classes', 'palette')}
    wanted = band_names(model.dataset_meta.get('bands'))
    todo: list[_Work] = []
    for target, scene in list(targets.items())[part - 1 :: parts]:
        beside = {
            kind: out_dir / kind / f'{target.stem}.{suffix}'
            for kind, suffix, yes in (
                ('confidence', 'tif', confidence),
                ('probabilities', 'tif', probabilities),
                ('quick_look', 'png', quick_look),
                ('polygons', 'gpkg', polygons),
            )
            if yes
        }
        rasters = [target, *(p for p in beside.values() if p.suffix == '.tif')]
        mapped = resume and all(path.is_file() for path in rasters)
        missing = {k: p for k, p in beside.items() if not (mapped and p.is_file())}
        if not mapped or missing:
            with Raster(scene) as raster:  # all are looked at before the first is mapped
                chosen = choose_bands(raster.info, wanted, bands)
                todo.append(_Work(raster.info, target, chosen, mapped, missing))
    notes: dict[Path, list[str]] = {}
    for work in todo:
        info, target = work.info, work.target
        notes[target] = []
        if not work.mapped:
            notes[target] += predict_scene(
                model,
                info.path,
                target,
                **facts,
                bands=work.bands,
                confidence=confidence,
                probabilities=probabilities,
                skip_bad_blocks=skip_bad_blocks,
                advance=track(Path(info.path).name),
                **options,
            )
        if 'quick_look' in work.missing:
            names = band_names(bands) or info.names or _in_file_order(wanted, work.bands)
            path = work.missing['quick_look']
            try:
                save_quick_look(path, info.path, target, bands=names, **facts)
            except RasterError as error:
                if not skip_bad_blocks:
                    raise
                notes[target].append(f'no quick look: {error}')
        if 'polygons' in work.missing:
            write_polygons(target, work.missing['polygons'], facts['classes'])
    return notes


class _Work(NamedTuple):
    """What is to be done for a scene."""

    info: RasterInfo
    target: Path
    bands: list[int]
    mapped: bool
    missing: dict[str, Path]


def _in_file_order(wanted: Sequence[str], chosen: Sequence[int]) -> tuple[str, ...]:
    """What a scene's bands are where only the model's are known: all of them, or nothing is."""
    if sorted(chosen) != list(range(len(wanted))):
        return ()
    return tuple(wanted[chosen.index(i)] for i in range(len(wanted)))
