"""Opening of datasets, local and remote, without conversion of colours."""

from __future__ import annotations

import os

from ._gdal import RasterError, gdal, gdal_exceptions
from .arrays import open_array, parse_array_name
from .names import is_vector, is_virtual
from .remote import is_remote, open_remote, retry, source_settings


def _vector_hint(path: str) -> str:
    """Return how to rasterize a vector file; empty for other files."""
    if not is_vector(path):
        return ''
    return '; it contains polygons: dnas convert --class-field FIELD rasterizes them on the scenes'


def open_dataset(path: str) -> gdal.Dataset:
    """Open a raster or array for reading.

    Raises:
        RasterError: The file is missing, not a raster, or a container of several rasters, or a
            server does not respond.
    """
    array = parse_array_name(path)
    if array is not None:
        return open_array(array)
    try:
        with gdal_exceptions():
            if is_remote(path):
                dataset = retry(lambda: open_remote(path, _raw_name))
            else:
                dataset = gdal.Open(_raw_name(path))
    except RuntimeError as error:
        if is_remote(path):
            raise RasterError(f'{path}: cannot be opened over the network ({error})') from None
        stat = gdal.VSIStatL(path)
        if stat is None and not (is_virtual(path) and not path.startswith('/vsi')):
            raise RasterError(f'{path}: no such file') from None
        reason = 'it is empty' if stat is not None and stat.size == 0 else str(error)
        raise RasterError(
            f'{path}: not a raster that GDAL can open ({reason}){_vector_hint(path)}'
        ) from None
    if dataset is None or not dataset.RasterCount:
        inside = [name for name, _ in dataset.GetSubDatasets()] if dataset is not None else []
        if inside:
            more = f' and {len(inside) - 8} more' if len(inside) > 8 else ''
            raise RasterError(
                f'{path}: a container of several rasters; choose one of '
                f'{", ".join(inside[:8])}{more}'
            )
        raise RasterError(f'{path}: no raster bands{_vector_hint(path)}')
    return dataset


def _raw_name(path: str) -> str:
    """Return the name under which a raster is opened without conversion of its colours."""
    driver = gdal.IdentifyDriver(path)
    # A plain open converts TIFFs tagged as CMYK and the like to RGBA.
    is_tiff = driver is not None and driver.ShortName in ('GTiff', 'COG')
    return f'GTIFF_RAW:{path}' if is_tiff and not path.startswith('GTIFF_') else path


def list_files(dataset: gdal.Dataset) -> list[str]:
    """Return the names of all files of a dataset, with the sources of VRTs in it.

    Raises:
        RasterError: A VRT in it cannot be opened.
    """
    names = dict.fromkeys(dataset.GetFileList() or [])
    opened = {dataset.GetDescription()}
    while nested := [n for n in names if _is_local_vrt(n) and n not in opened]:
        opened.update(nested)
        for name in nested:
            names.update(dict.fromkeys(open_dataset(name).GetFileList() or []))
    return list(names)


def _is_local_vrt(name: str) -> bool:
    """Return whether the name of a dataset is that of a VRT file on disk."""
    return name.lower().endswith('.vrt') and os.path.isfile(name)


def find_network_settings(dataset: gdal.Dataset, path: str) -> dict[str, str] | None:
    """Return the options for reading a dataset over the network; None if it is local."""
    driver = dataset.GetDriver()
    is_vrt = driver is not None and driver.ShortName == 'VRT'
    # The list of other remote files would take a request for each possible sidecar file.
    sources = [file for file in list_files(dataset) if file != path] if is_vrt else []
    if not any(map(is_remote, (path, *sources))):
        return None
    try:
        return retry(lambda: source_settings(sources)) if sources else {}
    except RuntimeError as error:
        raise RasterError(f'{path}: a source cannot be found ({error})') from error
