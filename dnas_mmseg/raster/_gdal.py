"""Import of GDAL, and its errors as exceptions inside a block and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dnas_mmseg.errors import UserError

_INSTALL = """{problem} One of these brings it:
  Python 3.12 or newer: pip install gdal-wheel
  conda:                conda install -c conda-forge gdal
  Debian, Ubuntu:       apt-get install libgdal-dev, and then bindings that match it, after numpy:
    pip install --no-build-isolation --no-cache-dir "gdal[numpy]==$(gdal-config --version)\""""

try:
    from osgeo import gdal
except ImportError as error:
    raise ImportError(_INSTALL.format(problem=f'GDAL cannot be imported ({error}).')) from error
try:
    from osgeo import gdal_array
except ImportError as error:
    raise ImportError(
        _INSTALL.format(problem='GDAL was built without numpy (osgeo.gdal_array is missing).')
    ) from error

__all__ = ['RasterError', 'block_cache', 'gdal', 'gdal_array', 'gdal_exceptions']


class RasterError(UserError, OSError):
    """A raster that cannot be read or written; the message names the file, in one line."""

    def __init__(self, message: str) -> None:
        super().__init__(message.replace('\n', ' '))  # GDAL 3.13 has a line for every cause


@contextmanager
def gdal_exceptions() -> Iterator[None]:
    """Make GDAL raise inside the block; other code in the process keeps its own setting."""
    before = gdal.GetUseExceptions()
    gdal.UseExceptions()
    gdal.PushErrorHandler('CPLQuietErrorHandler')
    try:
        yield
    finally:
        gdal.PopErrorHandler()
        if not before:
            gdal.DontUseExceptions()


@contextmanager
def block_cache(limit: int) -> Iterator[None]:
    """Keep at most ``limit`` bytes of blocks in memory; GDAL's own limit is 5 % of all RAM.

    Args:
        limit: Limit in bytes. A smaller limit that is set already stays.
    """
    before = gdal.GetCacheMax()
    gdal.SetCacheMax(min(before, limit))
    try:
        yield
    finally:
        gdal.SetCacheMax(before)
