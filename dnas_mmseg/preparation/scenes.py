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
    distinguish_stems,
    is_geodatabase,
    is_vector,
    raster_stem,
    resolve_scene,
    resolve_scenes,
    source_files,
)

from .path_patterns import MatchedFile, match_files, suggest_patterns

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
        is_vector_label: Whether the label is a vector file whatever its suffix.
    """

    name: str
    image: Path
    label: Path
    region: Window | None = None
    notes: tuple[str, ...] = ()
    is_vector_label: bool = False

    @property
    def has_polygons(self) -> bool:
        """Whether the label contains polygons."""
        return self.is_vector_label or is_vector(self.label)


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

    def check_raster(self, path: str | os.PathLike) -> None:
        """Raise if mask values are set for a scene of a single file.

        Raises:
            RasterError: Mask values are set.
        """
        resolve_scene(os.fspath(path), self.folder, mask_values=self.mask_values)


def find_scenes(
    root: str | os.PathLike,
    images: str,
    labels: str,
    stacks: StackSettings | None = None,
    polygons: bool = False,
) -> list[Scene]:
    """Pair images and labels by name.

    Args:
        root: Folder of the patterns.
        images: Glob pattern of the images, such as ``scenes/*.tif`` or ``scenes/{name}/rgb.tif``. A
            scene is named by the part at ``{name}``, otherwise by the file's stem. Where names
            repeat in several folders, as in ``*/images/*.tif``, the folders at wildcards precede
            them, and labels are those of the same folders. With ``stacks``, also products
            (``S2*.SAFE``) and patterns with a file per band (``scenes/{name}_{band}.tif``).
        labels: Glob pattern of the labels with ``{name}`` for the scene's name, such as
            ``labels/{name}_label.*`` or ``labels/{name}.gpkg``; or one file for all scenes. Files
            without the suffix of a raster are skipped, unless the pattern ends in the suffix of a
            vector file.
        stacks: How scenes of several files become rasters; None for none.
        polygons: Whether labels without the suffix of a raster are vector files.

    Raises:
        DatasetError: No files match, an image has no label, or two files have the same name.
        RasterError: Mask values are set for images of a single file.

    Example:
        >>> for path in ('scenes/a.tif', 'labels/a_label.png'):
        ...     Path(path).parent.mkdir(exist_ok=True)
        ...     Path(path).touch()
        >>> [scene.name for scene in find_scenes('.', 'scenes/*.tif', 'labels/{name}_label.*')]
        ['a']
    """
    pairs, missing = pair_scenes(root, images, labels, stacks, polygons)
    if missing:
        folder = Path(root, labels)
        name = missing[0].name
        label = (
            folder / f'{name}.*' if folder.is_dir() else Path(root, labels.replace('{name}', name))
        )
        more = f' (and {len(missing) - 1} more)' if len(missing) > 1 else ''
        remedy = '' if pairs else _suggest(root, images, labels)
        raise DatasetError(f'{label}: no such label, for {missing[0].path}{more}{remedy}')
    return pairs


def pair_scenes(
    root: str | os.PathLike,
    images: str,
    labels: str,
    stacks: StackSettings | None = None,
    polygons: bool = False,
) -> tuple[list[Scene], list[MatchedFile]]:
    """Pair images and labels by name, and list images without a label.

    Args:
        root, images, labels, stacks, polygons: Arguments of :func:`find_scenes`.

    Returns:
        Scenes, and images without a label.

    Raises:
        DatasetError: No files match, or two files have the same name.
        RasterError: Mask values are set for images of a single file.
    """
    images, labels = _in_folder(root, images, '*'), _in_folder(root, labels, '{name}')
    notes: dict[Path, tuple[str, ...]] = {}
    found = _find_files(root, images, stacks, notes)
    shared = Path(root, labels)
    is_shared = shared.is_file() or is_geodatabase(shared) or labels.startswith('/vsi')
    if not is_shared and '{name}' not in labels:
        raise DatasetError(
            f"{labels}: no such file or folder; in a pattern, '{{name}}' is the name of the scene, "
            "such as 'labels/{name}_label.tif' or '{name}/label.tif'"
        )
    files = [] if is_shared else _find_files(root, labels, polygons=polygons)
    # Folders tell files of the same name apart, and may differ between images and labels otherwise.
    by_folder = len({file.name for file in found}) < len(found)
    if by_folder and {len(f.folders) for f in files} - {len(f.folders) for f in found}:
        _require_unique(found, by_folder=False)
    _require_unique(found, by_folder)
    _require_unique(files, by_folder)
    of = {file.key if by_folder else file.name: file.path for file in files}
    # Names of the folders precede those of the files where they are necessary.
    names = distinguish_stems({file.key: file.name for file in found})
    pairs, missing = [], []
    for file in found:
        label = shared if is_shared else of.get(file.key if by_folder else file.name)
        if label is None:
            missing.append(file)
            continue
        is_vector_label = polygons and label.suffix.lower() not in RASTER_SUFFIXES
        name = names[file.key]
        pairs.append(
            Scene(
                name, file.path, label, notes=notes.get(file.path, ()),
                is_vector_label=is_vector_label,
            )
        )  # fmt: skip
    return pairs, missing


def sample_files(path: str | os.PathLike) -> list[Path]:
    """Return the files that determine the samples of a raster, such as the sources of a VRT.

    Overviews and ``.aux.xml``, to which GIS programs write statistics, are left out.
    """
    ignored = ('.aux.xml', '.ovr')
    return [file for file in source_files(path) if not file.name.lower().endswith(ignored)]


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
    if not folder.is_dir() or is_geodatabase(folder) or detect_scene(folder) is not None:
        return text
    files = (path for path in folder.iterdir() if path.is_file() or is_geodatabase(path))
    suffixes = Counter(path.suffix for path in files)
    vectors = [suffix for suffix in suffixes if is_vector(f'x{suffix}')]
    rasters = any(suffix.lower() in RASTER_SUFFIXES for suffix in suffixes)
    suffix = max(vectors, key=lambda s: suffixes[s]) if vectors and not rasters else '.*'
    return os.path.join(glob.escape(text), stem + (suffix if stem != '*' else ''))


def _find_files(
    root: str | os.PathLike,
    pattern: str,
    stacks: StackSettings | None = None,
    notes: dict[Path, tuple[str, ...]] | None = None,
    polygons: bool = False,
) -> list[MatchedFile]:
    """Return the rasters (or vector files) that match a pattern.

    Notes on scenes of several files are added to ``notes``.
    """
    is_stack = '{band}' in pattern and stacks is not None
    matches = [] if is_stack else match_files(root, pattern)
    suffix = Path(pattern).suffix.lower()
    has_vectors = is_vector(pattern)
    suffixes: tuple[str, ...] = VECTOR_SUFFIXES if has_vectors else RASTER_SUFFIXES
    if polygons and suffix not in RASTER_SUFFIXES and not glob.has_magic(suffix):
        has_vectors, suffixes = True, (suffix,)
    result = [file for file in matches if file.path.suffix.lower() in suffixes]
    others = [file.path for file in matches if file.path.suffix.lower() not in suffixes]
    if stacks is not None and not result:
        for scene in _stack(others or [Path(root, pattern)], stacks):
            result.append(MatchedFile(Path(scene.path), raster_stem(scene.path)))
            if notes is not None:
                notes[Path(scene.path)] = scene.notes
    elif stacks is not None:
        stacks.check_raster(result[0].path)
    if not result:
        if others:
            with Raster(others[0]) as raster:
                raster.info  # noqa: B018  raises with a hint, for instance for vector files
        kind = 'vector files' if has_vectors else 'rasters'
        raise DatasetError(f'{Path(root, pattern)}: no {kind} found ({", ".join(suffixes)})')
    return result


def _require_unique(files: Sequence[MatchedFile], by_folder: bool) -> None:
    """Raise if two files have the same name, in the same folders if these distinguish them."""
    known: dict[str, Path] = {}
    for file in files:
        key = file.key if by_folder else file.name
        if key in known:
            raise DatasetError(
                f"{known[key]} and {file.path} are both named '{file.name}': put '{{name}}' where "
                "the paths differ, in both patterns ('{name}/image.tif' '{name}/label.tif'), or "
                "the same number of folders at wildcards ('*/images/*.tif' '*/labels/{name}.tif')"
            )
        known[key] = file.path


def _suggest(root: str | os.PathLike, images: str, labels: str) -> str:
    """Return how to write the patterns of folders whose files have different names."""
    patterns = []
    folders = [text for text in (images, labels) if Path(root, text).is_dir()]
    if len(folders) == 2:
        files = [_find_files(root, _in_folder(root, text, '{name}')) for text in folders]
        stems = suggest_patterns(*([file.path.stem for file in each] for each in files))
        for text, each, stem in zip(folders, files, stems or (), strict=False):
            suffixes = {file.path.suffix for file in each}
            suffix = suffixes.pop() if len(suffixes) == 1 else '.*'
            patterns.append(f"'{Path(text, stem + suffix)}'")
    suggested = ' '.join(patterns) or "'images/{name}_rgb.tif' 'labels/{name}_label.png'"
    return f": if the names differ, '{{name}}' is what they have in common, e.g. {suggested}"


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
