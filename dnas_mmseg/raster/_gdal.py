"""Import of GDAL, and context managers for its process-wide settings."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dnas_mmseg.errors import UserError, redact_urls

_INSTALL = """{problem} Install it by one of:
  Python 3.12 or newer: pip install gdal-wheel
  conda:                conda install -c conda-forge gdal
  Debian, Ubuntu:       apt-get install libgdal-dev, then numpy, then the matching bindings:
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
    'is_network_forbidden',
]


class RasterError(UserError, OSError):
    """A raster cannot be read or written; the message is one line and names the file.

    URLs in the message have no query string, which may contain a signature.
    """

    def __init__(self, message: str) -> None:
        super().__init__(redact_urls(message).replace('\n', ' '))  # GDAL 3.13: a line per cause


_MODULES = (gdal, ogr, osr)
"""GDAL's modules; each has its own switch for exceptions."""

_users = 0
_before: tuple[bool, ...] = ()
_cache_users = 0
_cache_before = 0
_lock = threading.Lock()


@contextmanager
def gdal_exceptions() -> Iterator[None]:
    """Make GDAL raise exceptions inside the block.

    The switches are process-wide: they are restored when the last thread leaves such a block.
    """
    global _users, _before
    with _lock:
        if _users == 0:
            _before = tuple(bool(module.GetUseExceptions()) for module in _MODULES)
            for module in _MODULES:
                module.UseExceptions()
        _users += 1
    gdal.PushErrorHandler('CPLQuietErrorHandler')  # thread-local
    try:
        yield
    finally:
        gdal.PopErrorHandler()
        with _lock:
            _users -= 1
            if _users == 0:
                # Their error handlers share one stack: restore them in reverse order.
                for module, raised in reversed(list(zip(_MODULES, _before, strict=True))):
                    if not raised:
                        module.DontUseExceptions()


@contextmanager
def block_cache(limit: int) -> Iterator[None]:
    """Limit GDAL's block cache inside the block; GDAL defaults to 5 % of the RAM.

    The limit is process-wide: it is restored when the last thread leaves such a block.

    Args:
        limit: Limit in bytes; a smaller limit already in effect is left unchanged.
    """
    global _cache_users, _cache_before
    with _lock:
        if _cache_users == 0:
            _cache_before = gdal.GetCacheMax()
        _cache_users += 1
        gdal.SetCacheMax(min(gdal.GetCacheMax(), limit))
    try:
        yield
    finally:
        with _lock:
            _cache_users -= 1
            if _cache_users == 0:
                gdal.SetCacheMax(_cache_before)


_REMOTE = (
    'AIVector', 'DAAS', 'EEDA', 'EEDAI', 'HTTP', 'NGW', 'OGCAPI', 'PLMOSAIC', 'PLScenes', 'STACIT',
    'STACTA', 'WCS', 'WMS', 'WMTS',
)  # fmt: skip
"""Drivers that access the network, whatever the file name."""


_NO_NETWORK = ('CPL_VSIL_CURL_ALLOWED_EXTENSIONS', '.no-network')


def is_network_forbidden() -> bool:
    """Return whether :func:`forbid_network` was called."""
    return gdal.GetConfigOption(_NO_NETWORK[0]) == _NO_NETWORK[1]


def forbid_network() -> None:
    """Disable GDAL's network access for this process.

    Any raster may be a VRT, whatever its suffix, and a VRT may refer to any URL.
    """
    # /vsicurl/, /vsis3/ and the like then open only names with this suffix, which do not exist.
    gdal.SetConfigOption(*_NO_NETWORK)
    for name in _REMOTE:
        driver = gdal.GetDriverByName(name)
        if driver is not None:
            driver.Deregister()
