"""From labelled scenes to tiles, lists and a ``dataset.json``."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dnas_mmseg.files import write_text
from dnas_mmseg.raster import Raster, Window, write_raster

from .checks import Expectation, inspect_pairs, summarise
from .description import DatasetDescription, DatasetError
from .labels import IGNORE, LabelEncoding, LabelError

SPLITS = ('train', 'val', 'test')


@dataclass(frozen=True)
class Scene:
    """An image with its label, both whole."""

    name: str
    image: Path
    label: Path


def find_scenes(
    images: str | os.PathLike, labels: str | os.PathLike, label_suffix: str
) -> list[Scene]:
    """Pair the rasters of two folders by name.

    Args:
        images: Folder of ``<name>.tif`` or ``<name>.tiff``.
        labels: Folder of ``<name><label_suffix>.tif``, ``.tiff`` or ``.png``.
        label_suffix: What the labels' names have besides, ``'_label'`` for instance.

    Raises:
        DatasetError: There is no scene, or an image lacks its label.
    """
    names = {path.stem: path for path in _files(images, ('.tif', '.tiff'))}
    if not names:
        raise DatasetError(f'{images}: no .tif or .tiff files')
    found = {
        path.stem.removesuffix(label_suffix): path
        for path in _files(labels, ('.tif', '.tiff', '.png'))
        if path.stem.endswith(label_suffix)
    }
    missing = [name for name in names if name not in found]
    if missing:
        raise DatasetError(
            f'{labels}: no label {missing[0]}{label_suffix}.tif/.png for {names[missing[0]]}'
            + (f' (and {len(missing) - 1} more)' if len(missing) > 1 else '')
        )
    return [Scene(name, image, found[name]) for name, image in names.items()]


def split_scenes(
    scenes: Sequence[Scene], shares: Sequence[float], seed: int = 0
) -> dict[str, list[Scene]]:
    """Divide whole scenes at random, so that no pixel's neighbourhood is in two splits.

    Args:
        scenes: At least one for every split with a share above 0.
        shares: Of train, val and test.
        seed: Of the shuffle.
    """
    if min(shares) < 0 or shares[0] <= 0:
        raise DatasetError(f'shares {tuple(shares)}: none may be negative, train needs one above 0')
    wanted = sum(share > 0 for share in shares)
    if len(scenes) < wanted:
        raise DatasetError(f'{len(scenes)} scenes cannot be divided into {wanted} splits')
    order = list(scenes)
    random.Random(seed).shuffle(order)
    total = sum(shares)
    # Every split with a share gets a scene before the rest is divided.
    counts = [int(share > 0) for share in shares]
    while sum(counts) < len(order):
        lacking = [s / total * len(order) - c for s, c in zip(shares, counts, strict=True)]
        counts[lacking.index(max(lacking))] += 1
    ends = np.cumsum(counts)
    return {
        split: sorted(order[end - count : end], key=lambda scene: scene.name)
        for split, count, end in zip(SPLITS, counts, ends, strict=True)
    }


def scenes_from_lists(
    scenes: Sequence[Scene], lists: Mapping[str, str | os.PathLike]
) -> dict[str, list[Scene]]:
    """Divide scenes by list files with a scene's name a line.

    Args:
        scenes: All there are.
        lists: A file for each split.
    """
    known = {scene.name: scene for scene in scenes}
    result: dict[str, list[Scene]] = {split: [] for split in SPLITS}
    where: dict[str, str] = {}
    for split, path in lists.items():
        if not Path(path).is_file():
            raise DatasetError(f'{path}: no such list file')
        for number, line in enumerate(Path(path).read_text(encoding='utf-8').splitlines(), 1):
            name = Path(line.strip()).stem if Path(line.strip()).stem in known else line.strip()
            if not name:
                continue
            if name not in known:
                raise DatasetError(f"{path}:{number}: there is no scene '{name}'")
            if name in where:
                raise DatasetError(f"{path}:{number}: scene '{name}' is in {where[name]} already")
            where[name] = str(path)
            result[split].append(known[name])
    return result


def tile_windows(height: int, width: int, size: int, stride: int) -> list[Window]:
    """Windows that cover a scene; the last row and column are moved inwards to fit.

    A scene smaller than ``size`` has one window that is larger than it in that direction.
    """
    return [
        Window(row, column, size, size)
        for row in _starts(height, size, stride)
        for column in _starts(width, size, stride)
    ]


def cut_scene(
    scene: Scene,
    out: Path,
    labels: LabelEncoding,
    palette: Sequence[Sequence[int]],
    bands: Sequence[str],
    size: int,
    stride: int,
) -> list[tuple[str, str]]:
    """Cut one scene into tiles, reading a window at a time.

    Tiles keep their place in the scene's reference system. Labels become train ids with 255 for
    unlabelled. Where the scene ends inside a tile, the image is 0 and the label 255.

    Returns:
        Paths of image and label of every tile, relative to ``out``.

    Raises:
        DatasetError: The label has another size, or values that are unknown.
    """
    tiles = []
    with Raster(scene.image) as image, Raster(scene.label) as label:
        info = image.info
        if info.bands != len(bands):
            raise DatasetError(
                f'{scene.image}: {info.bands} bands, expected {len(bands)} ({", ".join(bands)})'
            )
        if label.info.shape != info.shape:
            raise DatasetError(
                f'{scene.label}: label of {label.info.shape} for a scene of {info.shape}'
            )
        for window in tile_windows(*info.shape, size, stride):
            name = f'{scene.name}_{window.row}_{window.column}'
            pair = (f'images/{name}.tif', f'labels/{name}.png')
            inside = window._replace(
                height=min(size, info.height - window.row),
                width=min(size, info.width - window.column),
            )
            try:
                ids = labels.encode(label.read(inside))
            except LabelError as error:
                raise DatasetError(f'{scene.label} at {inside}: {error}') from None
            write_raster(
                out / pair[0],
                _padded(image.read(inside), size, 0),
                names=bands,
                nodata=info.nodata[0],
                crs=info.crs,
                transform=_moved(info.transform, window),
            )
            write_raster(out / pair[1], _padded(ids[None], size, IGNORE), palette=palette)
            tiles.append(pair)
    return tiles


def cut_scenes(
    splits: Mapping[str, Sequence[Scene]],
    out: str | os.PathLike,
    *,
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
    bands: Sequence[str],
    label_convention: str,
    size: int = 512,
    stride: int | None = None,
    provenance: Mapping[str, str] | None = None,
    track: Callable[[Iterable], Iterable] = iter,
) -> DatasetDescription:
    """Cut scenes into a data root: tiles, ``train.txt`` ..., and ``dataset.json``.

    Args:
        splits: The scenes of each split.
        out: The data root to write.
        classes, palette: In train-id order.
        bands: Of the scenes, in file order.
        label_convention: Of the scenes' labels; the tiles' are train ids.
        size, stride: Of the tiles, in pixels; they touch where ``stride`` is None.
        provenance: Put into ``dataset.json``.
        track: Wraps the scenes as they are cut, to show progress.

    Returns:
        What ``dataset.json`` says, with the statistics of the training tiles.
    """
    out = Path(out)
    stride = size if stride is None else stride
    if not 0 < stride <= size:
        raise DatasetError(f'tiles of {size} pixels every {stride}: 0 < stride <= size is needed')
    if not splits.get('train'):
        raise DatasetError('no scenes are for training, whose statistics describe the data set')
    labels = LabelEncoding(label_convention, len(classes), tuple(map(tuple, palette)))
    pairs: dict[str, list[tuple[str, str]]] = {split: [] for split in splits}
    work = [(split, scene) for split, scenes in splits.items() for scene in scenes]
    for split, scene in track(work):
        pairs[split] += cut_scene(scene, out, labels, palette, bands, size, stride)
    names = {split: [scene.name for scene in scenes] for split, scenes in splits.items()}
    return describe_data_root(
        out,
        pairs,
        classes=classes,
        palette=palette,
        bands=bands,
        label_convention='train_id',
        provenance={**(provenance or {}), 'scenes': names},
    )


def describe_data_root(
    root: Path,
    pairs: Mapping[str, Sequence[tuple[str, str]]],
    *,
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
    bands: Sequence[str],
    label_convention: str,
    provenance: Mapping[str, Any],
) -> DatasetDescription:
    """Write the lists and ``dataset.json`` of tiles that are there.

    Args:
        root: The data root.
        pairs: Image and label of every tile of each split, relative to ``root``.
        classes, palette, bands, label_convention: Of the tiles.
        provenance: Where they come from.

    Returns:
        What ``dataset.json`` says, with the statistics of the training tiles.

    Raises:
        DatasetError: Something is wrong with the training tiles.
    """
    for split, tiles in pairs.items():
        write_text(root / f'{split}.txt', ''.join(f'{a}\t{b}\n' for a, b in tiles))
    labels = LabelEncoding(label_convention, len(classes))
    reports = inspect_pairs(
        [(str(root / image), str(root / label)) for image, label in pairs['train']],
        Expectation(tuple(bands), None, labels),
        statistics=True,
    )
    summary = summarise(reports, labels)
    if summary.problems:
        raise DatasetError('\n'.join(summary.problems[:8]))
    shares = summary.class_pixels / max(summary.class_pixels.sum(), 1)
    description = DatasetDescription(
        bands=tuple(bands),
        classes=tuple(classes),
        palette=tuple(tuple(int(c) for c in colour) for colour in palette),
        label_convention=label_convention,
        dtype=next(iter(summary.dtypes)),
        tile_size=next(iter(summary.sizes)),
        mean=tuple(round(float(value), 4) for value in summary.mean),
        std=tuple(round(float(value), 4) for value in summary.std),
        class_shares=tuple(round(float(share), 6) for share in shares),
        provenance=dict(provenance),
    )
    description.save(root)
    return description


def _files(folder: str | os.PathLike, suffixes: tuple[str, ...]) -> list[Path]:
    if not Path(folder).is_dir():
        raise DatasetError(f'{folder}: no such folder')
    return sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in suffixes)


def _starts(length: int, size: int, stride: int) -> list[int]:
    if length <= size:
        return [0]
    return [*range(0, length - size, stride), length - size]


def _padded(samples: np.ndarray, size: int, value: int) -> np.ndarray:
    rows, columns = size - samples.shape[1], size - samples.shape[2]
    return np.pad(samples, ((0, 0), (0, rows), (0, columns)), constant_values=value)


def _moved(transform: tuple[float, ...] | None, window: Window) -> tuple[float, ...] | None:
    """The geotransform of a window: the origin moves along both axes."""
    if transform is None:
        return None
    x, dx, skew_x, y, skew_y, dy = transform
    return (
        x + window.column * dx + window.row * skew_x, dx, skew_x,
        y + window.column * skew_y + window.row * dy, skew_y, dy,
    )  # fmt: skip
