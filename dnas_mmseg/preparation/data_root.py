"""From labelled scenes as users have them to a data root: labels, split, tiles."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dnas_mmseg.datasets.configs import SPLITS
from dnas_mmseg.datasets.description import DatasetDescription, DatasetError

from .conversion import convert_scenes
from .folder_split import split_by_folders
from .label_rasters import PolygonRules, check_label_options, make_label_rasters
from .scenes import Scene
from .splitting import split_scenes
from .tiling import TileSpec


@dataclass(frozen=True)
class SplitSettings:
    """How scenes are split.

    Attributes:
        lists: List file with scene names of each split, or None.
        folders: Split of each scene by name, as by :func:`.folder_split.folder_split`, instead of
            lists; empty for none. Splits without a scene are split from the training scenes.
        shares: Shares of train, val and test, without lists.
        seed: Random seed.
        within: Whether each scene is divided among the splits; None if there are fewer scenes than
            splits.
        gap: Pixels between the strips of a divided scene; None for half a tile.
        mix_tiles: Whether tiles are split instead of scenes.
    """

    lists: Mapping[str, str | os.PathLike | None] = field(default_factory=dict)
    folders: Mapping[str, str] = field(default_factory=dict)
    shares: Sequence[float] = (0.6, 0.2, 0.2)
    seed: int = 0
    within: bool | None = None
    gap: int | None = None
    mix_tiles: bool = False


@dataclass(frozen=True)
class DataRoot:
    """Result of :func:`make_data_root`.

    Attributes:
        description: Content of ``dataset.json``.
        scenes: Number of scenes of each split.
        method: Description of the method, for messages.
        notes: Notes for the user, one line each.
    """

    description: DatasetDescription
    scenes: dict[str, int]
    method: str
    notes: list[str]


def make_data_root(
    scenes: Sequence[Scene],
    out: str | os.PathLike,
    description: DatasetDescription,
    *,
    rules: PolygonRules | None = None,
    label_resampling: str = '',
    split: SplitSettings = SplitSettings(),
    size: int = 512,
    stride: int | None = None,
    min_labelled: float = 0.0,
    scale: tuple[float, float] | None = None,
    nodata: float | None = None,
    apply_scale: bool = False,
    max_unknown: float = 0.001,
    recut: bool = False,
    require_tiles: bool = False,
    provenance: Mapping[str, Any] | None = None,
    workers: int = 1,
    track: Callable[[str], Callable[[int, int], None]] = lambda name: lambda done, total: None,
) -> DataRoot:
    """Create a data root from labelled scenes; an interrupted run is resumed.

    Args:
        scenes: Scenes of :func:`dnas_mmseg.preparation.scenes.find_scenes`.
        out: Data root to write.
        description: Bands, classes, and how labels encode them.
        rules: How polygons become pixels, if the labels are polygons.
        label_resampling: ``'nearest'`` or ``'mode'`` to resample label rasters to the grids of the
            scenes; empty if they are on them.
        split: How scenes are split.
        size, stride, min_labelled, scale, nodata, apply_scale: See :class:`TileSpec`; ``stride``
            defaults to ``size``.
        max_unknown, recut, require_tiles, provenance, workers: See :func:`convert_scenes`.
        track: Function from the name of a step to its progress callback.

    Raises:
        DatasetError: See :func:`check_label_options`, :func:`make_label_rasters`,
            :func:`split_scenes` and :func:`convert_scenes`.
    """
    check_label_options(scenes, rules, label_resampling)
    notes = list(dict.fromkeys(note for scene in scenes for note in scene.notes))
    vectors = [scene.label for scene in scenes if scene.has_polygons]
    if vectors and rules is None:
        raise DatasetError(
            f'{vectors[0]}: polygons: --class-field names the field with the classes'
        )
    scene_values: Mapping[str, str | None] | None = None
    if vectors or label_resampling:
        labels = None if vectors else description.labels  # polygons have no values
        scene_values = labels.name_values(description.class_names) if labels else {}
        scenes, more = make_label_rasters(
            scenes,
            out,
            description,
            rules=rules,
            resampling=label_resampling,
            advance=track('labels'),
        )
        notes += more
        description = replace(
            description,
            classes=description.class_names,
            label_convention='train_id',
            label_values={},
        )
    tiling = TileSpec.from_description(
        description,
        size=size,
        stride=size if stride is None else stride,
        min_labelled=min_labelled,
        scale=scale,
        nodata=nodata,
        apply_scale=apply_scale,
    )
    if split.folders:
        folders = [split.folders[scene.name] for scene in scenes]
        parts, method, more = split_by_folders(scenes, folders, split.shares, split.seed)
        notes += more
    else:
        parts, method = split_scenes(
            scenes,
            split.lists,
            split.shares,
            split.seed,
            within=split.within,
            labels=tiling.labels,
            size=size,
            gap=size // 2 if split.gap is None else split.gap,
        )
    written, more = convert_scenes(
        parts,
        out,
        tiling,
        max_unknown=max_unknown,
        mix_tiles=split.seed if split.mix_tiles else None,
        split=method,
        recut=recut,
        require_tiles=require_tiles,
        provenance={**(provenance or {}), 'seed': split.seed},
        scene_values=scene_values,
        workers=workers,
        advance=track('cutting tiles'),
    )
    notes += more
    counts = {name: len(parts.get(name, ())) for name in SPLITS}
    notes += [f'{name} has no scenes, its list is empty' for name, n in counts.items() if not n]
    listed = len({scene.name for part in parts.values() for scene in part})
    if listed < len(scenes):
        notes.append(f'{len(scenes) - listed} of {len(scenes)} scenes are in no list')
    return DataRoot(written, counts, method, notes)
