"""Decoded tiles in the memory of a process."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from typing import TypeVar

T = TypeVar('T')

_limit = 0
_used = 0
_kept: dict[Hashable, object] = {}


def keep_tiles(limit: int) -> None:
    """Keep decoded tiles and labels in the memory of this process, and forget those kept so far.

    For trainings that load in their own process (``num_workers=0``), one after the other on the
    same tiles: each tile is then decoded once. Tiles are kept in the order of their first use until
    the limit is reached; in the random order of a training, replacing them would gain nothing.

    Args:
        limit: Largest total size of the tiles, in bytes; 0 keeps none, which is the default.
    """
    global _limit, _used
    _limit, _used = limit, 0
    _kept.clear()


def load_once(kind: Hashable, path: str, read: Callable[[], T], size: Callable[[T], int]) -> T:
    """Return what was read from a file, from memory if it is kept and the file is unchanged.

    Args:
        kind: What is read: results of different kinds are kept separately.
        path: Path or GDAL name of the file.
        read: Function that reads it.
        size: Function that returns the size of what was read, in bytes.

    Returns:
        The object that ``read`` returned now or earlier; it must not be modified.
    """
    global _used
    if not _limit:
        return read()
    try:
        stat = os.stat(path)
        state = stat.st_size, stat.st_mtime_ns
    except OSError:
        state = None  # a member of an archive, an array or a remote file
    key = kind, path, state
    if key in _kept:
        return _kept[key]  # type: ignore[return-value]
    found = read()
    amount = size(found)
    if _used + amount <= _limit:
        _used += amount
        _kept[key] = found
    return found
