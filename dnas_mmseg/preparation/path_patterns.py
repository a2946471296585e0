"""Files that match a pattern with ``{name}`` and wildcards, and the names of their scenes."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from dnas_mmseg.datasets.description import DatasetError


@dataclass(frozen=True)
class MatchedFile:
    """File that matches a pattern.

    Attributes:
        path: Path of the file.
        name: Text at ``{name}``, or the stem of the file without it in the pattern.
        folders: Folders at the wildcards of the pattern.
    """

    path: Path
    name: str
    folders: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Name after the folders at wildcards, such as ``2021/tile``."""
        return '/'.join((*self.folders, self.name))


def match_files(root: str | os.PathLike, pattern: str) -> list[MatchedFile]:
    """Return the files that match a pattern, sorted by path.

    Args:
        root: Folder of the pattern.
        pattern: Glob pattern; ``{name}`` stands for any text without a path separator, the same one
            wherever it occurs. The case of the suffix is ignored.

    Raises:
        DatasetError: The part of the path with ``{name}`` has wildcards.

    Example:
        >>> for path in ('2021/a/image.tif', '2022/a/image.tif'):
        ...     Path(path).parent.mkdir(parents=True, exist_ok=True)
        ...     Path(path).touch()
        >>> [file.key for file in match_files('.', '*/{name}/image.tif')]
        ['2021/a', '2022/a']
    """
    wildcard = _any_case(pattern.replace('{name}', '*'))
    found = []
    for path in sorted(map(Path, glob.glob(wildcard, root_dir=root, recursive=True))):
        match = _match(path, pattern)
        if match is not None:
            found.append(MatchedFile(Path(root, path), *match))
    return found


def suggest_patterns(images: Collection[str], labels: Collection[str]) -> tuple[str, str] | None:
    """Return patterns of stems that pair all images and labels; None if there are none.

    Args:
        images, labels: Stems of the files.

    Example:
        >>> suggest_patterns(['img_01', 'img_02'], ['lbl_01', 'lbl_02'])
        ('img_{name}', 'lbl_{name}')
    """
    if not images or not labels:
        return None
    befores = [_common_start(stems) for stems in (images, labels)]
    rests = [
        [stem[len(before) :] for stem in stems]
        for before, stems in zip(befores, (images, labels), strict=True)
    ]
    afters = [_common_end(stems) for stems in rests]
    # Digits next to the name that all have in common are part of it, such as the 0 of 01 and 02.
    start, end = _common_end(befores), _common_start(afters)
    digits = len(start) - len(start.rstrip('0123456789'))
    befores = [before[: len(before) - digits] for before in befores]
    afters = [after[len(end) - len(end.lstrip('0123456789')) :] for after in afters]
    names = [
        {stem[len(before) : len(stem) - len(after)] for stem in stems}
        for before, after, stems in zip(befores, afters, (images, labels), strict=True)
    ]
    if names[0] != names[1] or '' in names[0] or len(names[0]) < len(images):
        return None
    first, second = (f'{b}{{name}}{a}' for b, a in zip(befores, afters, strict=True))
    return first, second


def _common_start(texts: Collection[str]) -> str:
    first, last = min(texts), max(texts)
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), None)
    return first[:length]


def _common_end(texts: Collection[str]) -> str:
    return _common_start([text[::-1] for text in texts])[::-1]


def _any_case(pattern: str) -> str:
    """Make the suffix of a pattern case-insensitive."""
    stem, dot, suffix = pattern.rpartition('.')
    letters = (f'[{c.lower()}{c.upper()}]' if c.isalpha() else c for c in suffix)
    return stem + dot + ''.join(letters) if dot and suffix.isalnum() else pattern


def _match(path: Path, pattern: str) -> tuple[str, tuple[str, ...]] | None:
    """Return the name and the folders at wildcards of a path that matches a pattern.

    Returns:
        None if ``{name}`` stands for several texts.
    """
    parts = Path(pattern).parts
    # '**' matches any number of folders, which are those that the other parts do not match.
    recursive = [i for i, part in enumerate(parts) if part == '**']
    head = recursive[0] if recursive else len(parts) - 1
    tail = len(parts) - recursive[-1] - 1 if recursive else 1
    if recursive and any('{name}' in part for part in parts[head : len(parts) - tail]):
        raise DatasetError(f"{pattern}: '{{name}}' must not be between two '**'")
    middle = len(path.parts) - tail
    pairs = [
        *zip(parts[:head], path.parts[:head], strict=True),
        *(('*', part) for part in path.parts[head : min(middle, len(path.parts) - 1)]),
        *(zip(parts[len(parts) - tail :], path.parts[middle:], strict=True) if tail else ()),
    ]
    names: set[str] = set()
    folders: list[str] = []
    for i, (expected, part) in enumerate(pairs):
        is_file = i == len(pairs) - 1 and tail > 0
        before, braces, after = (Path(expected).stem if is_file else expected).partition('{name}')
        if braces and glob.has_magic(before + after):
            raise DatasetError(
                f"{pattern}: the file or folder name must not contain wildcards next to '{{name}}'"
            )
        if braces:
            text = Path(part).stem if is_file else part
            names.add(text.removeprefix(before).removesuffix(after))
        elif not is_file and glob.has_magic(expected):
            folders.append(part)
    if len(names) > 1:
        return None
    return names.pop() if names else path.stem, tuple(folders)
