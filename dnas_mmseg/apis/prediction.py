"""From a config and a checkpoint to maps of many scenes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS
from torch import nn

from dnas_mmseg.errors import UserError
from dnas_mmseg.raster import Raster, RasterInfo, band_names

from .checkpoint_conversion import load_exactly, load_weights_and_meta
from .scene_prediction import Tiling, predict_scene


def load_segmentor(
    config: Config, checkpoint: str | os.PathLike, device: str | None = None
) -> nn.Module:
    """A trained segmentor, ready to predict.

    Args:
        config: Its config.
        checkpoint: A checkpoint of exactly this model.
        device: Where it goes; a GPU where there is one.

    Returns:
        The model in evaluation mode; ``model.dataset_meta`` has ``classes``, ``palette`` and
        ``bands``, from the checkpoint, else from the config.

    Raises:
        CheckpointError: The checkpoint is damaged, or of another network.
        UserError: Neither tells the classes.
    """
    init_default_scope(config.get('default_scope', 'mmseg'))
    weights, meta = load_weights_and_meta(checkpoint)
    model = MODELS.build(config.model)
    load_exactly(model, weights, str(checkpoint))
    meta = {**dataset_facts(config), **meta}
    if not meta.get('classes'):
        raise UserError(
            f'neither {checkpoint} nor the config tells the classes: give the config '
            'test_dataloader.dataset.metainfo=dict(classes=..., palette=..., bands=...)'
        )
    model.dataset_meta = meta
    return model.to(device or get_device()).eval()


def dataset_facts(config: Config) -> dict:
    """Classes, palette and bands of a config's test set, as far as the config tells them."""
    init_default_scope(config.get('default_scope', 'mmseg'))
    dataset = (config.get('test_dataloader') or {}).get('dataset', {})
    known = DATASETS.get(dataset['type']) if dataset else None
    return {**getattr(known, 'METAINFO', {}), **dataset.get('metainfo', {})}


def model_bands(model: nn.Module, config: Config) -> tuple[str, ...]:
    """Names of the bands a model takes, in its order; empty where they are not known."""
    pipeline = ((config.get('test_dataloader') or {}).get('dataset') or {}).get('pipeline', [])
    chosen = [step['bands'] for step in pipeline if step['type'] == 'SelectBands']
    return band_names(chosen[-1] if chosen else model.dataset_meta.get('bands'))


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
            'are, in file order, by --bands'
        )
    # Descriptions such as "Band 1" tell nothing; the count fits, so the order is taken to fit.
    return list(range(info.bands))


def map_path(scene: str | os.PathLike, out_dir: str | os.PathLike) -> Path:
    """Where a scene's map goes."""
    return Path(out_dir) / f'{Path(scene).stem}.tif'


def predict_scenes(
    model: nn.Module,
    config: Config,
    scenes: Sequence[str | os.PathLike],
    out_dir: str | os.PathLike,
    *,
    bands: Sequence[str] | None = None,
    resume: bool = False,
    shard: tuple[int, int] = (1, 1),
    tiling: Tiling = Tiling(),  # noqa: B008
    track: Callable[[str], Callable[[int, int], None]] = lambda name: lambda done, total: None,
    **options,
) -> dict[Path, list[str]]:
    """Map scenes, one after another.

    Args:
        model: As :func:`load_segmentor` returns it.
        config: Its config.
        scenes: Files that GDAL reads.
        out_dir: Where the maps go, under the scenes' names.
        bands: The scenes' bands by name, in file order.
        resume: Skip scenes whose map is there.
        shard: ``(i, n)``: only the i-th of n parts of the scenes, counted from 1.
        tiling: Windows.
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
    targets: dict[Path, str | os.PathLike] = {}
    for scene in scenes:
        target = map_path(scene, out_dir)
        if target.resolve() == Path(scene).resolve():
            raise UserError(f'{scene}: its map would overwrite it; choose another --out-dir')
        if target in targets:
            raise UserError(f'{scene} and {targets[target]} would have the same map {target}')
        targets[target] = scene
    wanted = model_bands(model, config)
    chosen = {}
    for target, scene in list(targets.items())[part - 1 :: parts]:
        if not (resume and target.is_file()):
            with Raster(scene) as raster:  # all are looked at before the first is mapped
                chosen[target] = choose_bands(raster.info, wanted, bands)
    notes = {}
    for target, indices in chosen.items():
        notes[target] = predict_scene(
            model,
            targets[target],
            target,
            classes=model.dataset_meta['classes'],
            palette=model.dataset_meta['palette'],
            bands=indices,
            tiling=tiling,
            advance=track(Path(targets[target]).name),
            **options,
        )
    return notes
