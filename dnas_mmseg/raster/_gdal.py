"""Import of GDAL, and its errors as exceptions inside a block and nowhere else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dnas_mmseg.errors import UserError

_INSTALL = """{problem} One of these brings it:
  Python 3.12 or newer: pip install gdal-wheel
  conda:                conda install -c conda-forge gdal
  Debian, Ubuntu:       apt-get install libgdal-dev, and then bindings that match it, after numpy:
    pip install --no-build-isolation --no-cache-dir "gdal[numpy]==$(gdal-config --version)\""""

try:
    from osgeo import gdal, ogr, osr
except ImportError as error:
    raise ImportError(_INSTALL.format(problem=f'GDAL cannot be imported ({error}).')) from error
try:
    from osgeo import gdal_array
except ImportError as error:
    raise ImportError(
        _INSTALL.format(problem='GDAL was built without numpy (osgeo.gdal_array is missing).')
    ) from error

__all__ = [
    'RasterError',
    'block_cache',
    'forbid_network',
    'gdal',
    'gdal_array',
    'gdal_exceptions',
]


class RasterError(UserError, OSError):
    """A raster that cannot be read or written; the message names the file, in one line."""

    def __init__(self, message: str) -> None:
        super().__init__(message.replace('\n', ' '))  # GDAL 3.13 has a line for every cause


_MODULES = (gdal, ogr, osr)
"""GDAL's modules; each raises or does not raise by a switch of its own."""

_users = 0
_before: tuple[bool, ...] = ()
_lock = threading.Lock()


@contextmanager
def gdal_exceptions() -> Iterator[None]:
    """Make GDAL raise inside the block; other code in the process keeps its own setting.

    The switches are the process's, so they go back when the last of several threads leaves.
    """
    global _users, _before
    with _lock:
        if _users == 0:
            _before = tuple(bool(module.GetUseExceptions()) for module in _MODULES)
            for module in _MODULES:
                module.UseExceptions()
        _users += 1
    gdal.PushErrorHandler('CPLQuietErrorHandler')  # of this thread
    try:
        yield
    finally:
        gdal.PopErrorHandler()
        with _lock:
            _users -= 1
            if _users == 0:
                # Each puts a handler on one stack, so they leave in the reverse order.
                for module, raised in reversed(list(zip(_MODULES, _before, strict=True))):
                    if not raised:
                        module.DontUseExceptions()


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


_REMOTE = (
    'AIVector', 'DAAS', 'EEDA', 'EEDAI', 'HTTP', 'NGW', 'OGCAPI', 'PLMOSAIC', 'PLScenes', 'STACIT',
    'STACTA', 'WCS', 'WMS', 'WMTS',
)  # fmt: skip
"""Drivers that read from the network, whatever the file is called."""


def forbid_network() -> None:
    """Let GDAL read no address in this process, whatever a file refers to.

    A VRT may refer to any file and address, and any raster may be a VRT.
    """
    # GDAL's remote file systems (/vsicurl/, /vsis3/, ...) open names that end so, and no others.
    gdal.SetConfigOption('CPL_VSIL_CURL_ALLOWED_EXTENSIONS', '.no-network')
    for name in _REMOTE:
        driver = gdal.GetDriverByName(name)
        if driver is not None:
            driver.Deregister()
