"""Paths in the plan file of a work dir."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from dnas_mmseg.work_dir import NETWORK_FILE


def relative_paths(
    settings: Mapping[str, Any], folder: str | os.PathLike, names: Collection[str]
) -> dict[str, Any]:
    """Return settings with absolute paths replaced by ones relative to a folder (``./``, ``../``).

    A work dir can then be moved together with these files.

    Args:
        settings: Settings by name.
        folder: The folder.
        names: Names of the settings that are or may be paths.
    """

    def shorten(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return tuple(map(shorten, value))
        if not isinstance(value, str) or not os.path.isabs(value):
            return value
        path = Path(os.path.relpath(value, folder)).as_posix()
        return path if path.startswith('.') else f'./{path}'

    return {key: shorten(value) if key in names else value for key, value in settings.items()}


def absolute_paths(
    settings: Mapping[str, Any], folder: str | os.PathLike, names: Collection[str]
) -> dict[str, Any]:
    """Return settings with the paths of :func:`relative_paths` made absolute.

    A config that does not exist is replaced by its copy in the folder.
    """

    def lengthen(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return tuple(map(lengthen, value))
        if not isinstance(value, str) or not value.startswith(('./', '../')):
            return value
        return os.path.abspath(Path(folder) / value)

    result = {key: lengthen(value) if key in names else value for key, value in settings.items()}
    config, copy = result.get('config'), Path(folder) / NETWORK_FILE
    if config and os.path.isabs(config) and not os.path.exists(config) and copy.is_file():
        result['config'] = os.path.abspath(copy)
    return result
