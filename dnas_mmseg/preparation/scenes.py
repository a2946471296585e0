"""Labelled scenes: pairing of images and labels, and splits into train, val and test."""

from __future__ import annotations

import glob
import os
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from dnas_mmseg.datasets.configs import SPLITS
from dnas_mmseg.datasets.description import DatasetError
from dnas_mmseg.datasets.list_files import read_lines
from dnas_mmseg.raster import (
    RASTER_SUFFIXES,
    VECTOR_SUFFIXES,
    Raster,
    ResolvedScene,
    Window,
    detect_scene,
    is_vector,
    raster_stem,
    resolve_scenes,
)

_Item = TypeVar('_Item')


@dataclass(frozen=True)
class Scene:
    """A large image with its label.

    Attributes:
        name: Name of the scene; tiles are named ``<name>_<row>_<column>``.
        image: Path of the image.
        label: Path of the label: a raster, or polygons.
        region: Part of the scene to cut, in pixels; None for all.
        notes: How a scene of several files became a raster, one line each.
    """

    name: str
    image: Path
    label: Path
    region: Window | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class StackSettings:
    """How scenes of several files become rasters, see :func:`dnas_mmseg.raster.resolve_scenes`.

    Attributes:
        folder: Folder of the VRTs.
        bands: Names of the bands, in order; empty for all.
        resampling: Resampling of coarser bands: ``'nearest'``, ``'bilinear'`` or ``'cubic'``.
        mask_values: Values and bits of the quality band that mark invalid pixels.
    """

    folder: Path
    bands: tuple[str, ...] = ()
    resampling: str = 'bilinear'
    mask_values: tuple[str, ...] = ()


def find_scenes(
    root: str | os.PathLike, images: str, labels: str, stacks: StackSettings | None = None
) -> list[Scene]:
    """Pair images and labels by name.

    Args:
        root: Folder of the patterns.
        images: Glob pattern of the images, such as ``scenes/*.tif`` or ``scenes/{name}_rgb.tif``. A
            scene is named by the part at ``{name}``, otherwise by the file's stem. With ``stacks``,
            also products (``S2*.SAFE``) and patterns with a file per band
            (``scenes/{name}_{band}.tif``).
        labels: Glob pattern of the labels with ``{name}`` for the scene's name, such as
            ``labels/{name}_label.*`` or ``labels/{name}.gpkg``; or one file for all scenes. Files
            without the suffix of a raster are skipped, unless the pattern ends in the suffix of a
            vector file.
        stacks: How scenes of several files become rasters; None for none.

    Raises:
        DatasetError: No files match, an image has no label, or two files have the same name.

    Example:
        >>> for path in ('scenes/a.tif', 'labels/a_label.png'):
        ...     Path(path).parent.mkdir(exist_ok=True)
        ...     Path(path).touch()
        >>> [scene.name for scene in find_scenes('.', 'scenes/*.tif', 'labels/{name}_label.*')]
        ['a']
    """
    pairs, missing = pair_scenes(root, images, labels, stacks)
    if missing:
        folder = Path(root, labels)
        name = missing[0].stem if folder.is_dir() else _name_of(missing[0], images)
        label = (
            folder / f'{name}.*' if folder.is_dir() else Path(root, labels.replace('{name}', name))
        )
        more = f' (and {len(missing) - 1} more)' if len(missing) > 1 else ''
        raise DatasetError(f'{label}: no such label, for {missing[0]}{more}')
    return pairs


def pair_scenes(
    root: str | os.PathLike, images: str, labels: str, stacks: StackSettings | None = None
) -> tuple[list[Scene], list[Path]]:
    """Pair images and labels by name, and list images without a label.

    Args:
        root, images, labels, stacks: Arguments of :func:`find_scenes`.

    Returns:
        Scenes, and images without a label.

    Raises:
        DatasetError: No files match, or two files have the same name.
    """
    images, labels = _in_folder(root, images, '*'), _in_folder(root, labels, '{name}')
    found_notes: dict[str, tuple[str, ...]] = {}
    names = _by_name(root, images, stacks, found_notes)
    shared = Path(root, labels)
    if shared.is_file():
        return [
            Scene(name, image, shared, notes=found_notes.get(name, ()))
            for name, image in names.items()
        ], []
    if '{name}' not in Path(labels).stem:
        raise DatasetError(
            f"{labels}: no such file or folder; in a pattern, '{{name}}' is the name of the scene"
        )
    found = _by_name(root, labels)
    pairs = [
        Scene(name, image, found[name], notes=found_notes.get(name, ()))
        for name, image in names.items()
        if name in found
    ]
    return pairs, [image for name, image in names.items() if name not in found]


def split_by_share(
    items: Sequence[_Item], shares: Sequence[float], seed: int = 0
) -> dict[str, list[_Item]]:
    """Split items into train, val and test at random.

    Splitting scenes instead of tiles avoids leakage between neighbouring pixels.

    Args:
        items: Items, at least one per split with a positive share.
        shares: Shares of train, val and test; they need not sum to 1.
        seed: Seed of the shuffle.

    Returns:
        Items of each split, in their original order.

    Raises:
        DatasetError: The shares are invalid, or there are too few items.

    Example:
        >>> {split: len(part) for split, part in split_by_share(range(10), (6, 2, 2)).items()}
        {'train': 6, 'val': 2, 'test': 2}
    """
    if min(shares) < 0 or shares[0] <= 0:
        raise DatasetError(
            f'shares {tuple(shares)}: expected none negative and a positive one for train'
        )
    wanted = sum(share > 0 for share in shares)
    if len(items) < wanted:
        raise DatasetError(f'{len(items)} scenes cannot be split into {wanted} splits')
    order = list(range(len(items)))
    random.Random(seed).shuffle(order)
    total = sum(shares)
    # Every split with a positive share gets one item first.
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
    """Split scenes by list files with one scene or file name per line.

    Args:
        scenes: All scenes.
        lists: List file of each split.

    Returns:
        Scenes of each split.

    Raises:
        DatasetError: A list is missing, names an unknown scene, or repeats a scene.
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
                raise DatasetError(f"{path}:{number}: no scene '{name}'")
            if name in where:
                raise DatasetError(f"{path}:{number}: scene '{name}' is already in {where[name]}")
            where[name] = str(path)
            result[split].append(known[name])
    return result


def _in_folder(root: str | os.PathLike, text: str, stem: str) -> str:
    """Return the pattern of the rasters of a folder, or of its vector files if it has no others."""
    folder = Path(root, text)
    if not folder.is_dir() or detect_scene(folder) is not None:
        return text
    suffixes = Counter(path.suffix for path in folder.iterdir() if path.is_file())
    vectors = [suffix for suffix in suffixes if is_vector(f'x{suffix}')]
    rasters = any(suffix.lower() in RASTER_SUFFIXES for suffix in suffixes)
    suffix = max(vectors, key=lambda s: suffixes[s]) if vectors and not rasters else '.*'
    return os.path.join(glob.escape(text), stem + (suffix if stem != '*' else ''))


def _by_name(
    root: str | os.PathLike,
    pattern: str,
    stacks: StackSettings | None = None,
    notes: dict[str, tuple[str, ...]] | None = None,
) -> dict[str, Path]:
    """Return the rasters (or vector files) that match a pattern, by scene name.

    Notes on scenes of several files are added to ``notes``.
    """
    result: dict[str, Path] = {}
    others: list[Path] = []
    suffixes = VECTOR_SUFFIXES if is_vector(pattern) else RASTER_SUFFIXES
    found: list[str] = []
    if '{band}' not in pattern or stacks is None:
        wildcard = _any_case(pattern.replace('{name}', '*'))
        found = glob.glob(wildcard, root_dir=root, recursive=True)
    for path in sorted(Path(root, name) for name in found):
        if path.suffix.lower() not in suffixes:
            others.append(path)
        else:
            name = _name_of(path, pattern)
            if name in result:
                raise DatasetError(f"{result[name]} and {path} are both named '{name}'")
            result[name] = path
    if stacks is not None and not result:
        scenes = _stack(others or [Path(root, pattern)], stacks)
        result = {raster_stem(scene.path): Path(scene.path) for scene in scenes}
        if notes is not None:
            notes |= {raster_stem(scene.path): scene.notes for scene in scenes}
    if not result:
        if others:
            with Raster(others[0]) as raster:
                raster.info  # noqa: B018  raises with a hint, for instance for vector files
        kind = 'vector files' if is_vector(pattern) else 'rasters'
        raise DatasetError(f'{Path(root, pattern)}: no {kind} found ({", ".join(suffixes)})')
    return result


def _stack(paths: Sequence[Path], stacks: StackSettings) -> list[ResolvedScene]:
    """Return the rasters of products and band patterns."""
    products = [
        path for path in paths if '{band}' in path.name or path.is_dir() or _is_archive(path)
    ]
    return resolve_scenes(
        products,
        stacks.folder,
        bands=stacks.bands or None,
        resampling=stacks.resampling,
        mask_values=stacks.mask_values,
    )


def _is_archive(path: Path) -> bool:
    return path.suffix.lower() in ('.zip', '.tar')


def _any_case(pattern: str) -> str:
    """Make the suffix of a pattern case-insensitive."""
    stem, dot, suffix = pattern.rpartition('.')
    letters = (f'[{c.lower()}{c.upper()}]' if c.isalpha() else c for c in suffix)
    return stem + dot + ''.join(letters) if dot and suffix.isalnum() else pattern


def _name_of(path: Path, pattern: str) -> str:
    """Return the part of a file name at ``{name}`` in a pattern, or its stem without ``{name}``."""
    before, braces, after = Path(pattern).stem.partition('{name}')
    if braces and glob.has_magic(before + after):
        raise DatasetError(
            f"{pattern}: the file name must not contain wildcards next to '{{name}}'"
        )
    return path.stem.removeprefix(before).removesuffix(after) if braces else path.stem
