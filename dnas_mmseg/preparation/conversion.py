"""Conversion of labelled scenes to a data root: tiles, list files, manifests, ``dataset.json``."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from dnas_mmseg.datasets.checks import (
    PairReport,
    check_bands,
    compare_scalings,
    deduplicate_messages,
    round_significant,
    summarise,
)
from dnas_mmseg.datasets.configs import SPLITS
from dnas_mmseg.datasets.description import (
    DESCRIPTION_FILE,
    DatasetDescription,
    DatasetError,
)
from dnas_mmseg.datasets.labels import LabelEncoding
from dnas_mmseg.datasets.tiles import MANIFEST, tile_windows
from dnas_mmseg.files import lock_folder, write_json, write_text
from dnas_mmseg.raster import RasterInfo, Window

from .processes import check_workers, map_unordered
from .scenes import Scene, sample_files, split_by_share
from .tiling import Tile, TileSpec, check_scene, cut_windows


@dataclass(frozen=True)
class SceneTiles:
    """Tiles of a scene, stored as ``manifest/<scene>.json``.

    Attributes:
        windows: Number of windows, including those skipped for too few labelled pixels.
        unknown: Number of pixels of each unknown label value.
        tiles: Tiles in row-major order.
    """

    windows: int
    unknown: Counter[str]
    tiles: list[Tile]

    def save(self, out: Path, scene: Scene, tiling: TileSpec) -> None:
        """Write the manifest: files of the scene, tiling, and tiles."""
        document = {
            **_origin(scene, tiling),
            'windows': self.windows,
            'unknown': self.unknown,
            'tiles': [asdict(tile) for tile in self.tiles],
        }
        write_json(_manifest(out, scene), document, indent=None)

    @classmethod
    def load(
        cls, out: Path, scene: Scene, tiling: TileSpec, recut: bool = False
    ) -> SceneTiles | None:
        """Load the tiles of a scene from the manifest of an earlier run.

        Tiles of changed files or of another region are removed.

        Args:
            out: Data root.
            scene: Scene.
            tiling: Parameters of the tiles.
            recut: Whether tiles that were cut with other parameters are removed, too.

        Returns:
            Tiles; None if there is no valid manifest, if tiles are missing, or if the scene's files
            have changed (by size and modification time).

        Raises:
            DatasetError: The tiles were cut with another tiling.
        """
        origin = _origin(scene, tiling)
        try:
            document = json.loads(_manifest(out, scene).read_text(encoding='utf-8'))
            earlier = document['cut']
            tiles = [Tile(**tile) for tile in document['tiles']]
            result = cls(document['windows'], Counter(document['unknown']), tiles)
        except (FileNotFoundError, json.JSONDecodeError, KeyError, TypeError):
            return None
        if not all((out / path).is_file() for tile in tiles for path in tile.paths):
            return None
        differing = [key for key, value in origin['cut'].items() if earlier.get(key) != value]
        if differing and not recut and differing != ['region']:
            raise DatasetError(
                f'{out} has tiles that were cut with other settings ({", ".join(differing)}): '
                'choose another folder or remove this one'
            )
        unchanged = all(document.get(key) == origin[key] for key in ('bytes', 'modified'))
        if unchanged and not differing:
            return result
        for path in (path for tile in tiles for path in tile.paths):
            (out / path).unlink()  # it may be in no list of the new tiles
        return None


def convert_scenes(
    splits: Mapping[str, Sequence[Scene]],
    out: str | os.PathLike,
    tiling: TileSpec,
    *,
    max_unknown: float = 0.001,
    mix_tiles: int | None = None,
    split: str = 'by scene',
    recut: bool = False,
    require_tiles: bool = False,
    provenance: Mapping[str, Any] | None = None,
    scene_values: Mapping[str, str | None] | None = None,
    workers: int = 1,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[DatasetDescription, list[str]]:
    """Create a data root: tiles, a manifest per scene, list files, and ``dataset.json``.

    Resumes an interrupted run: scenes with a complete manifest in ``out`` are skipped.

    Args:
        splits: Scenes of the splits train, val and test.
        out: Data root to write.
        tiling: Parameters of the tiles.
        max_unknown: Largest share of a scene's pixels with unknown label values, which count as
            unlabelled.
        mix_tiles: Seed of a random split by tile, in proportion to the number of scenes per split.
            Neighbouring tiles are then in different splits, which inflates scores. None splits by
            ``splits``.
        split: How ``splits`` were made, for the provenance.
        recut: Whether tiles of an earlier run with other parameters are replaced.
        require_tiles: Whether val or test with scenes but without tiles raises an error; a note by
            default.
        provenance: Entries to add to the provenance in ``dataset.json``.
        scene_values: Class name of each label value of the user's scenes, if these are not the
            labels that are cut; empty if unknown.
        workers: Number of processes; 1 runs in this process.
        advance: Callback with the number of finished tiles and of all tiles to cut.

    Returns:
        Content of ``dataset.json``, with the statistics of the training tiles; and notes for the
        user, one line each.

    Raises:
        DatasetError: A scene is unusable or has too many unknown label values, no training tile
            has enough labelled pixels, or ``out`` contains another data set.
        FolderInUseError: Another run writes to ``out``.
    """
    out = Path(out)
    if not splits.get('train'):
        raise DatasetError('no training scenes, but the statistics are computed over them')
    check_workers(workers)
    if not 0 <= max_unknown <= 1:
        raise DatasetError(f'max_unknown = {max_unknown}: expected a share from 0 to 1')
    scenes = [scene for part in splits.values() for scene in part]
    for path in (path for scene in scenes for path in (scene.image, scene.label)):
        if path.resolve().parent in ((out / 'images').resolve(), (out / 'labels').resolve()):
            raise DatasetError(
                f'{path} is where tiles would be written: choose another folder than {out}'
            )
    outputs = [out / DESCRIPTION_FILE, *(out / f'{split}.txt' for split in splits)]
    if not (out / MANIFEST).is_dir() and any(path.exists() for path in outputs):
        raise DatasetError(f'{out} contains a data set from another source: choose another folder')
    out.mkdir(parents=True, exist_ok=True)
    with lock_folder(out):
        checked = {scene: check_scene(scene, tiling) for scene in scenes}  # before any is cut
        infos = {scene: info for scene, (info, _) in checked.items()}
        results = _cut_scenes(infos, out, tiling, max_unknown, recut, workers, advance)
        tiles = {
            split: [tile for scene in part for tile in results[scene].tiles]
            for split, part in splits.items()
        }
        if not tiles['train']:
            raise DatasetError(_describe_empty('train', splits['train'], tiling))
        notes = deduplicate_messages([note for _, notes in checked.values() for note in notes])
        if not tiling.apply_scale:
            used = ((info, check_bands(info, tiling.bands)[0]) for info in infos.values())
            notes += compare_scalings(
                {tuple(info.scaling[i] for i in index): info.path for info, index in used}
            )
        notes += _notes(results)
        notes += _absent_classes(tiles, tiling.classes)
        origin = {split: [scene.name for scene in part] for split, part in splits.items()}
        if mix_tiles is not None:
            all_tiles = [tile for part in tiles.values() for tile in part]
            shares = [len(splits.get(split, ())) for split in SPLITS]
            tiles = split_by_share(all_tiles, shares, mix_tiles)
            notes.append(
                'the split is by tile: adjacent tiles are in different splits, which inflates '
                'scores on val and test'
            )
        empty = [
            _describe_empty(split, () if mix_tiles is not None else part, tiling)
            for split, part in splits.items()
            if part and not tiles[split]
        ]
        if empty and require_tiles:
            raise DatasetError('\n'.join(empty))
        notes += empty
        description = describe_data_root(
            out,
            {split: [tile.paths for tile in part] for split, part in tiles.items()},
            map(_report, tiles['train']),
            classes=tiling.classes,
            palette=tiling.palette,
            bands=tiling.bands,
            label_convention='train_id',
            scene_values=tiling.labels.name_values(tiling.classes)
            if scene_values is None
            else scene_values,
            apply_scale=tiling.apply_scale,
            provenance={
                **(provenance or {}),
                **({} if tiling.scale is None else {'scaled_to_8_bit_from': tiling.scale}),
                'split': split if mix_tiles is None else f'by tile, seed {mix_tiles}',
                'scenes': origin if mix_tiles is None else [scene.name for scene in scenes],
            },
        )
    return description, notes


def describe_data_root(
    root: Path,
    pairs: Mapping[str, Sequence[tuple[str, str]]],
    training: Iterable[PairReport],
    *,
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
    bands: Sequence[str],
    label_convention: str,
    provenance: Mapping[str, Any],
    scene_values: Mapping[str, str | None] = {},
    apply_scale: bool = False,
) -> DatasetDescription:
    """Write the list files and ``dataset.json`` of existing tiles.

    Args:
        root: Data root.
        pairs: Image and label of the tiles of each split, relative to ``root``.
        training: Reports on the training tiles.
        classes, palette, bands, label_convention: See :class:`DatasetDescription`.
        provenance: Origin of the tiles.
        scene_values: See :class:`DatasetDescription`.
        apply_scale: Whether scale and offset were applied to the samples.

    Returns:
        Content of ``dataset.json``, with the statistics of the training tiles.

    Raises:
        DatasetError: The training tiles have problems or no valid pixel.
    """
    summary = summarise(training, LabelEncoding(label_convention, len(classes)))
    if summary.problems:
        raise DatasetError('\n'.join(summary.problems[:8]))
    if summary.mean is None or summary.std is None:
        raise DatasetError('no training tile has a valid pixel')
    for split, tiles in pairs.items():
        write_text(root / f'{split}.txt', ''.join(f'{a}\t{b}\n' for a, b in tiles))
    shares = summary.class_pixels / max(summary.class_pixels.sum(), 1)
    description = DatasetDescription(
        bands=tuple(bands),
        classes=tuple(classes),
        palette=tuple(tuple(int(c) for c in colour) for colour in palette),
        label_convention=label_convention,
        scene_values=dict(scene_values),
        dtype=next(iter(summary.dtypes)),
        tile_size=next(iter(summary.sizes)),
        mean=tuple(round_significant(value) for value in summary.mean),
        std=tuple(round_significant(value) for value in summary.std),
        class_shares=tuple(round(float(share), 6) for share in shares),
        apply_scale=apply_scale,
        provenance=dict(provenance),
    )
    description.save(root)
    return description


def _cut_scenes(
    infos: Mapping[Scene, RasterInfo],
    out: Path,
    tiling: TileSpec,
    max_unknown: float,
    recut: bool,
    workers: int,
    advance: Callable[[int, int], None],
) -> dict[Scene, SceneTiles]:
    """Cut the scenes without a manifest, write theirs, and return the tiles of all scenes."""
    types = sorted({info.dtype for info in infos.values()})
    if len(types) > 1 and tiling.scale is None and not tiling.apply_scale:
        raise DatasetError(f'scenes of different types: {", ".join(types)}')
    results = {scene: SceneTiles.load(out, scene, tiling, recut) for scene in infos}
    for scene, result in results.items():
        if result is not None:
            _check_unknown(scene, infos[scene], result, tiling, max_unknown)
    todo = {
        scene: _windows(scene, infos[scene], tiling) for scene in infos if results[scene] is None
    }
    done, total = 0, sum(map(len, todo.values()))
    cutting = {scene: SceneTiles(len(windows), Counter(), []) for scene, windows in todo.items()}
    missing = {scene: len(windows) for scene, windows in todo.items()}
    rows = (
        (scene, list(row), tiling, out)
        for scene, windows in todo.items()
        for _, row in groupby(windows, key=lambda window: window.row_off)
    )
    for (scene, row, *_), (tiles, unknown) in map_unordered(cut_windows, rows, workers):
        parts = cutting[scene]
        parts.tiles.extend(tiles)
        parts.unknown.update(unknown)
        _check_unknown(scene, infos[scene], parts, tiling, max_unknown)
        missing[scene] -= len(row)
        if not missing[scene]:
            parts.tiles.sort(key=lambda tile: (tile.row, tile.column))
            parts.save(out, scene, tiling)
            results[scene] = parts
        done += len(row)
        advance(done, total)
    return {scene: result for scene, result in results.items() if result is not None}


def _windows(scene: Scene, info: RasterInfo, tiling: TileSpec) -> list[Window]:
    """Return the windows of a scene's tiles, inside its region if it has one."""
    region = scene.region or Window(0, 0, info.width, info.height)
    if scene.region is not None and min(region.height, region.width) < tiling.size:
        raise DatasetError(
            f'{scene.image}: a region of {region.height} x {region.width} pixels is smaller than a '
            f'tile of {tiling.size}'
        )
    return [
        window._replace(
            row_off=window.row_off + region.row_off, col_off=window.col_off + region.col_off
        )
        for window in tile_windows(region.height, region.width, tiling.size, tiling.stride)
    ]


def _check_unknown(
    scene: Scene, info: RasterInfo, result: SceneTiles, tiling: TileSpec, max_unknown: float
) -> None:
    """Raise if the share of pixels with unknown label values exceeds ``max_unknown``.

    Padding of windows that are larger than the scene has no label and does not count.
    """
    total = result.windows * min(tiling.size, info.height) * min(tiling.size, info.width)
    if result.unknown.total() > max_unknown * total:
        raise DatasetError(
            f'{scene.label}: {tiling.labels.describe_unknown(result.unknown, total)}. Their share '
            f'exceeds max_unknown = {max_unknown}'
        )


def _notes(results: Mapping[Scene, SceneTiles]) -> list[str]:
    notes = []
    for scene, result in results.items():
        if result.unknown:
            values = ', '.join(f'{v} ({n} pixels)' for v, n in result.unknown.most_common(3))
            notes.append(
                f'{scene.label}: {len(result.unknown)} unknown label values count as unlabelled: '
                f'{values}{", ..." if len(result.unknown) > 3 else ""}'
            )
    skipped = sum(result.windows - len(result.tiles) for result in results.values())
    if skipped:
        notes.append(f'{skipped} tiles are skipped: too few labelled pixels')
    return notes


def _describe_empty(split: str, scenes: Sequence[Scene], tiling: TileSpec) -> str:
    """Return a message that a split has scenes but no tile."""
    if not scenes:
        return f'{split} has no tile: there are too few tiles for this split'
    names = [scene.name for scene in scenes]
    listed = ', '.join(names[:3]) + (', ...' if len(names) > 3 else '')
    remedy = 'label more pixels there, or choose another seed or other shares of the splits'
    if tiling.min_labelled * tiling.size**2 > 1:
        remedy += f', or lower min_labelled = {tiling.min_labelled:g}'
    return f'{split} has no tile: its scenes ({listed}) have too few labelled pixels: {remedy}'


def _absent_classes(tiles: Mapping[str, Sequence[Tile]], classes: Sequence[str]) -> list[str]:
    """Return a note for each split that lacks a class."""
    notes = []
    for split, part in tiles.items():
        if part:
            pixels = np.sum([tile.class_pixels for tile in part], axis=0)
            absent = [name for name, n in zip(classes, pixels, strict=True) if not n]
            notes += [f'{split} has no pixel of {", ".join(absent)}'] if absent else []
    return notes


def _report(tile: Tile) -> PairReport:
    """Convert a tile to a report for the statistics."""
    size = tile.size
    return PairReport(
        shape=(size, size),
        bands=len(tile.totals),
        dtype=tile.dtype,
        pixels=tile.pixels,
        totals=np.array(tile.totals),
        squares=np.array(tile.squares),
        class_pixels=np.array(tile.class_pixels),
    )


def _manifest(out: Path, scene: Scene) -> Path:
    name = scene.name
    if scene.region is not None:
        name += f'_{scene.region.row_off}_{scene.region.col_off}'
    return out / MANIFEST / f'{name}.json'


def _origin(scene: Scene, tiling: TileSpec) -> dict[str, Any]:
    """Return what determines the tiles of a scene: its files and the tiling."""
    image, label = scene.image.resolve(), scene.label.resolve()
    files = dict.fromkeys([image, label, *sample_files(scene.image), *sample_files(scene.label)])
    cut = {key: value for key, value in asdict(tiling).items() if value or key != 'label_values'}
    if scene.region is not None:
        cut['region'] = scene.region
    return {
        'image': str(image),
        'label': str(label),
        'bytes': [path.stat().st_size for path in files],
        'modified': [path.stat().st_mtime_ns for path in files],
        # Lists and text instead of tuples and NaN, to be equal to those of a manifest.
        'cut': json.loads(json.dumps(cut), parse_constant=str),
    }
