"""Atomic writing of GeoPackages."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dnas_mmseg.files import atomic_path

from ._gdal import RasterError, gdal, gdal_exceptions

_JOURNALS = ('-journal', '-wal', '-shm')
"""Suffixes of the files of open SQLite databases."""


def write_geopackage(path: str | os.PathLike, fill: Callable[[Any], None]) -> None:
    """Write a GeoPackage atomically.

    Args:
        path: Path of the file, ending in ``.gpkg``.
        fill: Function that adds layers to the open dataset and keeps no reference to it.

    Raises:
        RasterError: The file cannot be written.
    """
    try:
        with atomic_path(path) as temporary, gdal_exceptions():
            temporary.unlink()  # the driver refuses an existing file
            gdal.ErrorReset()
            target = gdal.GetDriverByName('GPKG').Create(str(temporary), 0, 0, 0, gdal.GDT_Unknown)
            try:
                fill(target)
                target.FlushCache()
            finally:
                target = None  # close it before it is renamed
                _remove_journals(temporary)
            # Closing flushes the file; GDAL reports a full disk only as the last error.
            if gdal.GetLastErrorType() >= gdal.CE_Failure:
                raise RuntimeError(gdal.GetLastErrorMsg())
        # SQLite would apply those of a replaced file, as of one open in QGIS, to the new one.
        _remove_journals(Path(path))
    except (RuntimeError, OSError) as error:
        raise RasterError(f'{path}: cannot be written ({error})') from error


def _remove_journals(path: Path) -> None:
    for suffix in _JOURNALS:
        path.with_name(path.name + suffix).unlink(missing_ok=True)
