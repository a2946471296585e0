"""Labelled scenes: finding them, and dividing them among train, val and test."""

from __future__ import annotations

import glob
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from .description import DatasetError

SPLITS = ('train', 'val', 'test')
_RASTERS = ('.tif', '.tiff', '.png', '.vrt', '.img', '.jp2')
_Item = TypeVar('_Item')


@dataclass(frozen=True)
class Scene:
    """An image with its label, both whole."""

    name: str
    image: Path
    label: Path


def find_scenes(images: str | os.PathLike, labels: str | os.PathLike) -> list[Scene]:
    """Pair images and labels by name.

    Args:
        images: A pattern, ``scenes/*.tif`` for instance; a scene's name is its file's, without the
            suffix.
        labels: A pattern with ``{name}`` for that name, ``labels/{name}_label.*`` for instance.
            Files that are no rasters (``.aux.xml``) are passed over.

    Raises:
        DatasetError: There are no files, an image lacks its label, or two files have one name.
    """
    images, labels = os.fspath(images), os.fspath(labels)
    before, braces, after = Path(labels).stem.partition('{name}')
    if not braces:
        raise DatasetError(f"{labels}: '{{name}}' must stand in the file's name, for the image's")
    names = _by_name(images)
    found = _by_name(labels.replace('{name}', '*'), before, after)
    missing = [name for name in names if name not in found]
    if missing:
        raise DatasetError(
            f'{labels.replace("{name}", missing[0])}: no such label, for {names[missing[0]]}'
            + (f' (and {len(missing) - 1} more)' if len(missing) > 1 else '')
        )
    return [Scene(name, image, found[name]) for name, image in names.items()]


def split_by_share(
    items: Sequence[_Item], shares: Sequence[float], seed: int = 0
) -> dict[str, list[_Item]]:
    """Divide at random; of whole scenes, no pixel's neighbourhood is in two splits.

    Args:
        items: At least one for every split with a share above 0; in their order in each split.
        shares: Of train, val and test.
        seed: Of the shuffle.
    """
    if min(shares) < 0 or shares[0] <= 0:
        raise DatasetError(f'shares {tuple(shares)}: none may be negative, train needs one above 0')
    wanted = sum(share > 0 for share in shares)
    if len(items) < wanted:
        raise DatasetError(f'{len(items)} scenes cannot be divided into {wanted} splits')
    order = list(range(len(items)))
    random.Random(seed).shuffle(order)
    total = sum(shares)
    # Every split with a share gets a scene before the rest is divided.
    counts = [int(share > 0) for share in shares]
    while sum(counts) < len(order):
        lacking = [s / total * len(order) - c for s, c in zip(shares, counts, strict=True)]
        counts[lacking.index(max(lacking))] += 1
    result, start = {}, 0
    for split, count in zip(SPLITS, counts, strict=True):
        result[split] = [items[i] for i in sorted(order[start : start + count])]
        start += count
    return result


def split_by_lists(
    scenes: Sequence[Scene], lists: Mapping[str, str | os.PathLike]
) -> dict[str, list[Scene]]:
    """Divide scenes by list files with a scene's name, or its file's, a line.

    Args:
        scenes: All there are.
        lists: A file for each split.

    Raises:
        DatasetError: A list is missing, names an unknown scene, or one that is in another.
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


def _by_name(pattern: str, before: str = '', after: str = '') -> dict[str, Path]:
    """Rasters that fit a pattern, by what stands between two parts of their names."""
    result: dict[str, Path] = {}
    for path in sorted(map(Path, glob.glob(pattern, recursive=True))):
        if path.suffix.lower() in _RASTERS:
            name = path.stem.removeprefix(before).removesuffix(after)
            if name in result:
                raise DatasetError(f"{result[name]} and {path} are both named '{name}'")
            result[name] = path
    if not result:
        raise DatasetError(f'{pattern}: no such rasters ({", ".join(_RASTERS)})')
    return result
