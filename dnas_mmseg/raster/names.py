"""Names of rasters: suffixes of files, names of GDAL datasets, and names of output files."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from dnas_mmseg.errors import redact_urls

from ._gdal import RasterError
from .arrays import parse_array_name

RASTER_SUFFIXES = ('.tif', '.tiff', '.png', '.jpg', '.jpeg', '.vrt', '.img', '.jp2', '.npy')
"""Suffixes of the rasters that are found in folders."""

VECTOR_SUFFIXES = (
    '.fgb', '.gdb', '.geojson', '.gml', '.gpkg', '.json', '.kml', '.mif', '.shp', '.tab',
)  # fmt: skip
"""Suffixes of the vector files that are found in folders."""


def is_virtual(path: str | os.PathLike) -> bool:
    """Return whether a path is the name of a GDAL dataset or array and not a file on disk.

    An existing file whose name looks like one (``scene_T10:30.tif``) is a file.
    """
    text = os.fspath(path)
    # At least two letters: C:\\scene.tif is a Windows path.
    has_prefix = re.match(r'[A-Za-z]\w+:', text) is not None
    return text.startswith('/vsi') or (has_prefix and not os.path.exists(text))


def is_vector(path: str | os.PathLike) -> bool:
    """Return whether a path has the suffix of a vector file."""
    return Path(path).suffix.lower() in VECTOR_SUFFIXES


def is_geodatabase(path: str | os.PathLike) -> bool:
    """Return whether a path is a file geodatabase, a folder that contains vector layers."""
    return Path(path).suffix.lower() == '.gdb' and os.path.isdir(path)


def raster_stem(path: str | os.PathLike) -> str:
    """Return the stem for output files of a raster: its file name without the suffix.

    For a GDAL dataset name such as ``NETCDF:"x.nc":B1``, these are the letters, digits, dots and
    hyphens after the last slash; for an array, the stem of its file, its name and its index.

    Example:
        >>> raster_stem('scenes/a.tif'), raster_stem('NETCDF:"x.nc":B1')
        ('a', 'x.nc_B1')
        >>> raster_stem('ARRAY:"data/tiles.h5":images:17')
        'tiles_images_17'
    """
    text = os.fspath(path)
    array = parse_array_name(text)
    if array is not None:
        return array.stem
    if not is_virtual(text) or text.startswith('/vsi'):
        return Path(redact_urls(text)).stem
    name = re.split(r'[\\/]', text.partition(':')[2])[-1]
    return '_'.join(re.findall(r'[\w.-]+', name))


def distinguish_stems(stems: Mapping[str, str]) -> dict[str, str]:
    """Return unique names of output files by path.

    Where several paths have the same stem, as in the folders of Sentinel-2 or Planet, parent
    folders are prepended until the names differ.

    Args:
        stems: Preferred name of each path.

    Raises:
        RasterError: Two paths cannot be distinguished.

    Example:
        >>> distinguish_stems({'T32/B.tif': 'B', 'T33/B.tif': 'B', 'C.tif': 'C'})
        {'T32/B.tif': 'T32_B', 'T33/B.tif': 'T33_B', 'C.tif': 'C'}
    """
    names = dict(stems)
    parents = {
        path: [part for part in Path(redact_urls(path)).parts[:-1] if part.strip('/.')]
        for path in names
    }
    while True:
        count = Counter(names.values())
        clashing = [path for path in names if count[names[path]] > 1]
        if not clashing:
            return names
        if not any(parents[path] for path in clashing):
            raise RasterError(f'{clashing[0]} and {clashing[1]} would be written to the same file')
        for path in clashing:
            if parents[path]:
                names[path] = f'{parents[path].pop()}_{names[path]}'
