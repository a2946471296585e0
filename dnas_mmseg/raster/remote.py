"""Access to rasters over the network: settings of GDAL during a call, and retries with back-off."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from ._gdal import RasterError, gdal, gdal_exceptions, is_network_forbidden

Result = TypeVar('Result')

_NETWORK = r'/vsi(?:curl|s3|gs|az|adls|oss|swift|webhdfs)(?:_streaming)?[/?]'

_SETTINGS = {
    'GDAL_HTTP_MAX_RETRY': '4',
    'GDAL_HTTP_RETRY_DELAY': '0.5',
    'GDAL_HTTP_CONNECTTIMEOUT': '10',
    'GDAL_HTTP_LOW_SPEED_TIME': '30',
    'GDAL_HTTP_LOW_SPEED_LIMIT': '1',
}
"""Options of GDAL where the user sets none: a request is aborted after 30 s without a byte.
GDAL_HTTP_TIMEOUT, which limits the duration of a request, would abort large ones on slow lines."""

_REQUIRED = {'GDAL_MAX_RAW_BLOCK_CACHE_SIZE': '0'}
"""Options of GDAL whatever the user sets. GDAL (seen in 3.6.2) keeps the blocks of remote COGs that
it read for the mask, frees them, and decodes the freed memory when bands are read next: errors,
sometimes wrong samples. Without this buffer, it sent as many requests in the same time."""

_MAX_DELAY = 8
"""Largest delay between repetitions, in units of the first one."""

_LISTING = 'GDAL_DISABLE_READDIR_ON_OPEN'

_SIDECARS = ('.aux.xml', '.msk')
"""Suffixes of the sidecar files that change samples or their validity."""

_HEADER, _SIDECAR = 2**14, 2**20
"""Bytes of a source and of a sidecar file that are read in advance."""

_MAX_PROBED = 64
"""Largest number of sources of a VRT whose sidecar files are searched, at two requests each."""


def is_remote(name: str | os.PathLike) -> bool:
    """Return whether the name of a dataset refers to the network.

    Example:
        >>> is_remote('/vsizip//vsis3/bucket/a.zip/a.tif'), is_remote('a.tif')
        (True, False)
    """
    return re.search(f'{_NETWORK}|https?://', os.fspath(name)) is not None


@contextmanager
def network_settings(options: dict[str, str] = _SETTINGS) -> Iterator[None]:
    """Set options of GDAL for the current thread inside the block.

    Options that the user or an enclosing block has set are left unchanged, except those that
    correct samples depend on.

    Args:
        options: Values by name; default to those of network access.
    """
    missing = {key: options[key] for key in options if gdal.GetConfigOption(key) is None}
    # Bindings without options per thread set them for the process.
    get_option = getattr(gdal, 'GetThreadLocalConfigOption', gdal.GetConfigOption)
    set_option = getattr(gdal, 'SetThreadLocalConfigOption', gdal.SetConfigOption)
    chosen = {**missing, **_REQUIRED}
    before = {key: get_option(key) for key in chosen}
    for key, value in chosen.items():
        set_option(key, value)
    try:
        yield
    finally:
        for key, value in before.items():
            set_option(key, value)


def retry(action: Callable[[], Result], reset: Callable[[], None] = lambda: None) -> Result:
    """Call a function that accesses the network, and repeat it if it fails.

    GDAL repeats single requests after some responses, such as 503, but not after a dropped
    connection (before 3.10), and it caches failures. This repeats the whole call, with a clear
    cache, up to twice GDAL_HTTP_MAX_RETRY times. The delay starts with GDAL_HTTP_RETRY_DELAY
    seconds and doubles up to eight times that.

    Args:
        action: Function that raises RuntimeError if a request fails; other exceptions are final.
        reset: Function to call before a repetition, which closes the dataset.

    Returns:
        Result of the function.

    Raises:
        RuntimeError: All repetitions failed.
        RasterError: An option is not a number.
    """
    with network_settings():
        repetitions = 2 * int(_number('GDAL_HTTP_MAX_RETRY'))
        delay = _number('GDAL_HTTP_RETRY_DELAY')
        if is_network_forbidden():
            repetitions = 0
        for repetition in range(repetitions):
            with suppress(RuntimeError):
                return action()
            # Outside of an except clause, whose traceback would hold the dataset.
            reset()
            gdal.VSICurlClearCache()
            time.sleep(delay * min(2**repetition, _MAX_DELAY))
        return action()


def _number(option: str) -> float:
    text = gdal.GetConfigOption(option)
    try:
        return max(0.0, float(text))
    except ValueError:
        raise RasterError(f'{option}={text}: expected a number') from None


def open_remote(path: str, name: Callable[[str], str] = lambda path: path) -> gdal.Dataset:
    """Open a remote raster once; :func:`retry` repeats it.

    GDAL sends up to 45 requests for sidecar files of a TIFF. Here it sends two, for those that
    change samples or validity, and searches the others only if one of these exists or the user
    configured the search.

    Args:
        path: Name of a dataset on the network.
        name: Function from the path to the name to open.

    Raises:
        RasterError: The file does not exist, or access is denied.
        RuntimeError: The file cannot be opened, or a request failed.
    """
    is_file = re.match(_NETWORK, path) is not None
    with gdal_exceptions(), network_settings():
        if is_file and not _exists(path):
            raise RasterError(f'{path}: no such file, or no permission to read it')
        if is_file and gdal.GetConfigOption(_LISTING) is None and not _has_sidecar(path):
            # A file without siblings has no sidecar files.
            return gdal.OpenEx(name(path), sibling_files=[os.path.basename(path)])
        return gdal.OpenEx(name(path))


def source_settings(files: Iterable[str]) -> dict[str, str]:
    """Return options under which GDAL opens the sources of a VRT.

    The beginning of each remote source is read into GDAL's cache: a source that GDAL failed to open
    stays unavailable as long as any VRT is open in the process.

    Args:
        files: Local and remote sources.

    Raises:
        RuntimeError: It is unknown whether a file exists, because a request failed.
    """
    files = list(files)
    remote = [file for file in files if is_remote(file)]
    if len(remote) > _MAX_PROBED or any(file.lower().endswith('.vrt') for file in remote):
        return {}
    with_sidecar = [
        file
        for file in files
        if file not in remote
        and any(Path(file + suffix).exists() for suffix in (*_SIDECARS, '.ovr'))
    ]
    for file in remote:
        if _exists(file):
            _fetch(file, _HEADER)
        if _has_sidecar(file):
            with_sidecar.append(file)
    return {} if with_sidecar else {_LISTING: 'EMPTY_DIR'}


def _has_sidecar(path: str) -> bool:
    """Return whether a remote file has sidecar files; a URL with a query has none.

    Their beginning is read into GDAL's cache: GDAL opens the file without them if a request for
    them fails.
    """
    found = [] if '?' in path else [s for s in _SIDECARS if _exists(path + s)]
    for suffix in found:
        _fetch(path + suffix, _SIDECAR)
    return bool(found)


def _fetch(path: str, limit: int) -> None:
    """Read the first ``limit`` bytes of a remote file into GDAL's cache.

    Raises:
        RuntimeError: A request failed.
    """
    with gdal_exceptions(), network_settings():
        status, handle = gdal.VSIStatL(path), gdal.VSIFOpenL(path, 'rb')
        if status is None or handle is None:
            raise RuntimeError(f'{path}: cannot be opened')
        try:
            size = min(status.size, limit)
            if size and len(gdal.VSIFReadL(1, size, handle) or b'') < size:
                raise RuntimeError(f'{path}: cannot be read')
        finally:
            gdal.VSIFCloseL(handle)


def _exists(path: str) -> bool:
    """Return whether a remote file exists.

    Raises:
        RuntimeError: The server does not respond, or it reports an error of its own.
    """
    flags = gdal.VSI_STAT_EXISTS_FLAG | gdal.VSI_STAT_SET_ERROR_FLAG
    reason = ''
    with gdal_exceptions(), network_settings():
        for _ in range(2):
            gdal.VSIErrorReset()
            if gdal.VSIStatL(path, flags) is not None:
                return True
            reason = gdal.VSIGetLastErrorMsg()
            if reason:
                break
            gdal.VSICurlPartialClearCache(path)  # the cached absence may be a failure
    code = re.search(r'HTTP response code: (\d+)', reason)
    if code is None:
        failed = 'CURL error' in reason
    else:
        failed = int(code[1]) in (0, 408, 429) or int(code[1]) >= 500
    if failed:
        raise RuntimeError(f'{path}: {reason}')
    return False
