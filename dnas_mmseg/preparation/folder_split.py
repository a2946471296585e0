"""Splits by folders named train, val and test."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from dnas_mmseg.datasets.configs import SPLITS
from dnas_mmseg.datasets.description import DatasetError

from .scenes import split_by_share

_Item = TypeVar('_Item')

_FOLDERS = {'train': 'train', 'val': 'val', 'valid': 'val', 'validation': 'val', 'test': 'test'}
"""Split of the files in a folder."""


def folder_split(paths: Sequence[str | os.PathLike]) -> list[str] | None:
    """Return the split of each file by its folders.

    Args:
        paths: Paths of the files.

    Returns:
        ``'train'``, ``'val'`` or ``'test'`` of each file; None unless each file is in a folder of
        one split, and both training files and others exist.

    Example:
        >>> folder_split(['mine/train/a.tif', 'mine/valid/b.tif'])
        ['train', 'val']
    """
    folders = [Path(path).parent for path in paths]
    shared = len(Path(os.path.commonpath(folders)).parts)
    result = []
    for folder in folders:
        parts = (part.lower() for part in folder.parts[shared:])
        splits = {_FOLDERS[part] for part in parts if part in _FOLDERS}
        if len(splits) != 1:
            return None
        result.append(splits.pop())
    return result if 'train' in result and len(set(result)) > 1 else None


def split_by_folders(
    items: Sequence[_Item], splits: Sequence[str], shares: Sequence[float], seed: int = 0
) -> tuple[dict[str, list[_Item]], str, list[str]]:
    """Split scenes by their folders; a split without a folder is made from the training scenes.

    Args:
        items: Scenes.
        splits: Split of each scene, the result of :func:`folder_split`.
        shares, seed: Arguments of :func:`dnas_mmseg.preparation.scenes.split_by_share`.

    Returns:
        Scenes of each split; a description of the method; and notes, one line each.

    Raises:
        DatasetError: There are too few training scenes.
    """
    parts: dict[str, list[_Item]] = {split: [] for split in SPLITS}
    for item, split in zip(items, splits, strict=True):
        parts[split].append(item)
    absent = [split for split in SPLITS if not parts[split]]
    if absent:
        if len(parts['train']) <= len(absent):
            raise DatasetError(
                f'the training folders have {len(parts["train"])} scenes, too few to split '
                f'{" and ".join(absent)} from them: add a folder {absent[0]}'
            )
        chosen = [
            share if split in ('train', *absent) else 0
            for split, share in zip(SPLITS, shares, strict=True)
        ]
        training = split_by_share(parts['train'], chosen, seed)
        parts |= {split: training[split] for split in ('train', *absent)}
    return parts, *describe_folders(splits)


def describe_folders(splits: Sequence[str]) -> tuple[str, list[str]]:
    """Return the method of a split by folders, and notes, one line each.

    Args:
        splits: Result of :func:`folder_split`.
    """
    present = [split for split in SPLITS if split in splits]
    absent = [split for split in SPLITS if split not in splits]
    listed = ' and '.join([', '.join(present[:-1]), present[-1]])
    notes = [f'the images are in folders of {listed}: they are split by these folders']
    notes += [f'{split} has no folder: it is split from the training images' for split in absent]
    return f'by the folders of {listed}', notes
