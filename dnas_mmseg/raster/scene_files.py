"""Scenes that consist of several files: their bands, and the members of folders and archives."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property

from ._gdal import RasterError, gdal, gdal_exceptions
from .remote import network_settings

_ARCHIVES = {'.zip': '/vsizip/', '.tar': '/vsitar/'}
_CHUNK = 2**20
_COMPRESSED = ('.tar.gz', '.tgz', '.tar.bz2', '.tar.xz')
"""Archives without random access: every window would decompress them from the start."""


@dataclass(frozen=True)
class BandSource:
    """Band of a file.

    Attributes:
        path: Path or GDAL dataset name.
        band: Band number, from 1.
        scale, offset: Physical value of a sample, ``scale * sample + offset``; None for those that
            the file declares.
        nodata: Nodata value; None for that of the scene.
    """

    path: str
    band: int = 1
    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None


@dataclass(frozen=True)
class QualityBand:
    """Band with a class or flags of each pixel.

    Attributes:
        name: Name in the product, such as ``'SCL'``.
        source: The band.
        has_flags: Whether the bits of its values are flags, so that mask values may be bits.
    """

    name: str
    source: BandSource
    has_flags: bool = False


@dataclass(frozen=True)
class MultiFileScene:
    """Scene whose bands are in several files, or in a product with a known layout.

    Attributes:
        name: Name of the scene, for output files.
        source: Path or pattern as set by the user.
        product: Kind of product, such as ``'Sentinel-2 L2A'``.
        bands: Source of each band by its normalized name (:func:`dnas_mmseg.bands.band_name`).
        sensor: Sensor of band numbers (:func:`dnas_mmseg.bands.find_sensor`); empty if unknown.
        nodata: Nodata value of all bands; None for those that the files declare.
        quality: Quality band, or None.
        acquired: Acquisition time, ``'YYYY-MM-DD HH:MM:SS'`` in UTC; empty if unknown.
    """

    name: str
    source: str
    product: str
    bands: Mapping[str, BandSource] = field(hash=False)
    sensor: str = ''
    nodata: float | None = None
    quality: QualityBand | None = None
    acquired: str = ''


@dataclass(frozen=True)
class InvalidScene:
    """Scene that cannot be used, to be reported together with the errors of other scenes.

    Attributes:
        source: Path of its description.
        error: The reason.
    """

    source: str
    error: RasterError


@dataclass(frozen=True)
class FileTree:
    """Folder or archive with the names of its files.

    Attributes:
        source: Path as set by the user.
        root: The same as a GDAL path, absolute.
        files: Paths of the files relative to ``root``, with slashes, sorted.
    """

    source: str
    root: str
    files: tuple[str, ...]

    @classmethod
    def read(cls, source: str) -> FileTree | None:
        """List a folder or archive.

        All files of archives and SAFE folders are listed, only direct files of other folders, which
        may contain anything.

        Returns:
            None if the path is neither.

        Raises:
            RasterError: The archive is compressed as a whole, or damaged.
        """
        if source.lower().endswith(_COMPRESSED) and os.path.isfile(source):
            raise RasterError(
                f'{source}: a compressed archive, from which windows cannot be read; unpack it and '
                'set the folder'
            )
        prefix = _ARCHIVES.get(os.path.splitext(source)[1].lower())
        if source.startswith('/vsi'):
            prefix, root = None, source.rstrip('/')
        else:
            root = os.path.abspath(source)
        if prefix is not None and os.path.isfile(source):
            names = gdal.ReadDirRecursive(prefix + root)
            if names is None:
                raise RasterError(
                    f'{source}: the archive cannot be read; it is truncated or damaged'
                )
            root = prefix + root
        else:
            stat = None
            with gdal_exceptions(), network_settings(), suppress(RuntimeError):
                stat = gdal.VSIStatL(root)
            if stat is None or not stat.IsDirectory():
                return None
            names = gdal.ReadDir(root) or []
            if root.upper().endswith('.SAFE') or any(name.startswith('MTD_MSI') for name in names):
                names = gdal.ReadDirRecursive(root) or []
        return cls(source, root, tuple(sorted(n for n in names if not n.endswith(('/', '.')))))

    @cached_property
    def stem(self) -> str:
        """Name of the folder or archive without the suffixes of products."""
        return re.sub(r'(\.(zip|tar|SAFE))+$', '', os.path.basename(self.root), flags=re.I)

    def path(self, name: str) -> str:
        """Return the GDAL path of a file."""
        return f'{self.root}/{name}'

    def text(self, name: str) -> str:
        """Return the content of a text file.

        Raises:
            RasterError: The file cannot be read.
        """
        return read_text(self.path(name))


def read_text(path: str) -> str:
    """Return the content of a text file, which may be a GDAL path.

    Raises:
        RasterError: The file cannot be read.
    """
    content = bytearray()
    try:
        with gdal_exceptions():
            handle = gdal.VSIFOpenL(path, 'rb')
            if handle is None:
                raise RuntimeError(gdal.GetLastErrorMsg() or 'no such file, or no access')
            try:
                while chunk := gdal.VSIFReadL(1, _CHUNK, handle):
                    content += chunk
            finally:
                gdal.VSIFCloseL(handle)
    except (RuntimeError, TypeError, ValueError) as error:
        raise RasterError(f'{path}: cannot be read ({error})') from error
    return content.decode('utf-8', errors='replace')


def one_product(tree: FileTree, names: Iterable[str]) -> str:
    """Return the only name of a product in a folder or archive.

    Raises:
        RasterError: There are several.
    """
    found = sorted(set(names))
    if len(found) > 1:
        more = ', ...' if len(found) > 4 else ''
        raise RasterError(
            f'{tree.source}: {len(found)} products ({", ".join(found[:4])}{more}), expected one; '
            'move each to a folder of its own'
        )
    return found[0]
