"""Labelled scenes: how they are found, and divided among train, val and test."""

from __future__ import annotations

import glob
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from dnas_mmseg.datasets.description import DatasetError
from dnas_mmseg.datasets.list_files import read_lines
from dnas_mmseg.raster import Raster

SPLITS = ('train', 'val', 'test')
RASTERS = ('.tif', '.tiff', '.png', '.vrt', '.img', '.jp2')
_Item = TypeVar('_Item')


@dataclass(frozen=True)
class Scene:
    """A whole image with its whole label."""

    name: str
    image: Path
    label: Path


def find_scenes(root: str | os.PathLike, images: str, labels: str) -> list[Scene]:
    """Pair images and labels by name.

    Args:
        root: Folder that the patterns are relative to.
        images: Pattern of the images, ``scenes/*.tif`` or ``scenes/{name}_rgb.tif`` for instance; a
            scene's name is its file's without the suffix, or the part at ``{name}``.
        labels: Pattern of the labels with ``{name}`` for that name, ``labels/{name}_label.*`` for
            instance. Files that are no rasters (``.aux.xml``) are passed over.

    Raises:
        DatasetError: There are no files, an image lacks its label, or two files have one name.
    """
    pairs, missing = pair_scenes(root, images, labels)
    if missing:
        label = Path(root, labels.replace('{name}', _name_of(missing[0], images)))
        more = f' (and {len(missing) - 1} more)' if len(missing) > 1 else ''
        raise DatasetError(f'{label}: no such label, for {missing[0]}{more}')
    return pairs


def pair_scenes(
    root: str | os.PathLike, images: str, labels: str
) -> tuple[list[Scene], list[Path]]:
    """Pair images and labels by name, as far as there are labels.

    Args:
        root, images, labels: Arguments of :func:`find_scenes`.

    Returns:
        Pairs of image and label, and the images that have no label.

    Raises:
        DatasetError: There are no files, or two files have one name.
    """
    if '{name}' not in Path(labels).stem:
        raise DatasetError(f"{labels}: '{{name}}' must stand in the file's name, for the image's")
    names, found = _by_name(root, images), _by_name(root, labels)
    pairs = [Scene(name, image, found[name]) for name, image in names.items() if name in found]
    return pairs, [image for name, image in names.items() if name not in found]


def split_by_share(
    items: Sequence[_Item], shares: Sequence[float], seed: int = 0
) -> dict[str, list[_Item]]:
    """Divide items among splits at random; whole scenes keep neighbouring pixels in one split.

    Args:
        items: Items, at least one for every split with a share above 0; each split keeps their
            order.
        shares: Shares of train, val and test; their sum may be any.
        seed: Seed of the shuffle.
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
    """Divide scenes by list files, which have a scene's name or that of its file on each line.

    Args:
        scenes: All scenes.
        lists: List file of each split.

    Raises:
        DatasetError: A list is missing, names an unknown scene, or one that is in another.
    """
    known = {scene.name: scene for scene in scenes}
    result: dict[str, list[Scene]] = {split: [] for split in SPLITS}
    where: dict[str, str] = {}
    for split, path in lists.items():
        for number, line in enumerate(read_lines(path), 1):
            line = line.strip()
            name = line if line in known else Path(line).stem
            if not line:
                continue
            if name not in known:
                raise DatasetError(f"{path}:{number}: there is no scene '{name}'")
            if name in where:
                raise DatasetError(f"{path}:{number}: scene '{name}' is in {where[name]} already")
            where[name] = str(path)
            result[split].append(known[name])
    return result


def _by_name(root: str | os.PathLike, pattern: str) -> dict[str, Path]:
    """Return rasters that fit a pattern, by the part at ``{name}``, or else by their stems."""
    result: dict[str, Path] = {}
    others: list[Path] = []
    found = glob.glob(_any_case(pattern.replace('{name}', '*')), root_dir=root, recursive=True)
    for path in sorted(Path(root, name) for name in found):
        if path.suffix.lower() not in RASTERS:
            others.append(path)
        else:
            name = _name_of(path, pattern)
            if name in result:
                raise DatasetError(f"{result[name]} and {path} are both named '{name}'")
            result[name] = path
    if not result:
        if others:
            with Raster(others[0]) as raster:
                raster.info  # noqa: B018  says what is wrong, and what to do with polygons
        raise DatasetError(f'{Path(root, pattern)}: no such rasters ({", ".join(RASTERS)})')
    return result


def _any_case(pattern: str) -> str:
    """Return a pattern that matches its suffix in capitals, too."""
    stem, dot, suffix = pattern.rpartition('.')
    letters = (f'[{c.lower()}{c.upper()}]' if c.isalpha() else c for c in suffix)
    return stem + dot + ''.join(letters) if dot and suffix.isalnum() else pattern


def _name_of(path: Path, pattern: str) -> str:
    """Return the part of a file's name at ``{name}`` in a pattern, or else its stem."""
    before, braces, after = Path(pattern).stem.partition('{name}')
    if braces and glob.has_magic(before + after):
        raise DatasetError(f"{pattern}: beside '{{name}}' the file's name needs plain letters")
    return path.stem.removeprefix(before).removesuffix(after) if braces else path.stem
