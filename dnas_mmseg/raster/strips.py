"""Writing of large maps in strips, atomically and with bounded memory."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from dnas_mmseg.classes import ClassScheme
from dnas_mmseg.files import atomic_path, sync_file

from ._gdal import RasterError, gdal, gdal_exceptions
from .georeference import GeoReference
from .raster_info import MAP_OF, MAP_SOURCE, MAP_WEIGHTS
from .windows import block_windows
from .writing import GDAL_TYPES, describe_bands, describe_classes

_OPTIONS = (
    'TILED=YES', 'COMPRESS=DEFLATE', 'ZLEVEL=1', 'BIGTIFF=IF_SAFER', 'INTERLEAVE=BAND',
    'SPARSE_OK=TRUE',
)  # fmt: skip
"""Creation options of the temporary file: fast compression, and nothing stored for empty blocks."""

_COG_BLOCK = 512
"""Side of the blocks of a map, and largest side of its smallest overview, in pixels."""

_SMALL = 2**22
"""Largest number of samples of a map that is composed in memory instead of a temporary file."""


@contextmanager
def write_strips(
    path: str | os.PathLike,
    *,
    height: int,
    width: int,
    names: Sequence[str] = ('',),
    dtype: str = 'uint8',
    nodata: float | None = None,
    georeference: GeoReference = GeoReference(),  # noqa: B008  immutable
    classes: ClassScheme | None = None,
    resampling: str = 'NEAREST',
    map_of: str = '',
    map_source: str = '',
    map_weights: str = '',
    cog: bool = True,
) -> Iterator[Callable[..., None]]:
    """Write a Cloud-Optimized GeoTIFF (COG) window by window.

    The windows are written to a temporary tiled file. When the block ends without an exception,
    this file is rewritten with overviews and renamed; otherwise nothing is left.

    Args:
        path: Final path, ending in ``.tif``.
        height, width: Size of the whole map, in pixels.
        names: Band descriptions, one per band.
        dtype: Name of the numpy type of the samples.
        nodata: Nodata value of all bands.
        georeference: Georeference of the map.
        classes: Classes of the values 0, 1, ...; for one band of uint8. GIS programs read their
            names from the file's ``.aux.xml``, which is written just before the map.
        resampling: Resampling of the overviews: ``'MODE'`` for classes, ``'AVERAGE'`` for
            continuous values.
        map_of: Name of the mapped scene, for :attr:`RasterInfo.map_of`.
        map_source: Path of its file, for :attr:`RasterInfo.map_source`.
        map_weights: Checksum of the network, for :attr:`RasterInfo.map_weights`.
        cog: Whether to write a COG; otherwise a tiled file without overviews, which is faster.

    Yields:
        Function ``write(samples, row, column=0)`` for samples of shape (bands, rows, columns) at an
        upper left pixel. Pixels that are not written are nodata.

    Raises:
        RasterError: The file cannot be written.

    Example:
        >>> with write_strips('map.tif', height=8, width=8, nodata=255) as write:
        ...     for row in (0, 4):
        ...         write(np.zeros((1, 4, 8), np.uint8), row)
    """
    block_error: BaseException | None = None
    try:
        with atomic_path(path) as final:
            strips = final.with_name(f'{final.name}.strips') if cog else final
            dataset: Any = None
            written = False
            try:
                with gdal_exceptions():
                    size = (width, height, len(names), GDAL_TYPES[dtype])
                    if cog and width * height * len(names) <= _SMALL:
                        dataset = gdal.GetDriverByName('MEM').Create('', *size)
                        for i in range(len(names) if nodata is not None else 0):
                            dataset.GetRasterBand(i + 1).Fill(nodata)
                    else:
                        driver = gdal.GetDriverByName('GTiff')
                        dataset = driver.Create(str(strips), *size, list(_OPTIONS))
                    describe_bands(dataset, nodata, None if classes is None else classes.palette)
                    for i, name in enumerate(names):
                        dataset.GetRasterBand(i + 1).SetDescription(name)
                    georeference.write(dataset)
                    if classes is not None:
                        describe_classes(dataset, classes)
                    origin = {MAP_OF: map_of, MAP_SOURCE: map_source, MAP_WEIGHTS: map_weights}
                    for key, text in origin.items():
                        if text:
                            dataset.SetMetadataItem(key, text)

                def write(samples: np.ndarray, row: int, column: int = 0) -> None:
                    try:
                        with gdal_exceptions():
                            status = dataset.WriteArray(np.ascontiguousarray(samples), column, row)
                        if status:  # another thread may have disabled exceptions
                            raise RuntimeError(gdal.GetLastErrorMsg())
                    except RuntimeError as error:
                        raise _write_error(path, error) from error

                try:
                    yield write
                except BaseException as error:
                    block_error = error
                    raise
                with gdal_exceptions():
                    gdal.ErrorReset()
                    dataset.FlushCache()
                    if cog:
                        _write_cog(dataset, final, resampling)
                    dataset = None
                    # Closing flushes the file; GDAL reports a full disk only as the last error.
                    if gdal.GetLastErrorType() >= gdal.CE_Failure:
                        raise RuntimeError(gdal.GetLastErrorMsg())
                sidecar = final.with_name(f'{final.name}.aux.xml')
                if sidecar.is_file():  # before the map: a renamed map is complete
                    sync_file(sidecar)
                    os.replace(sidecar, f'{os.fspath(path)}.aux.xml')
                written = True
            finally:
                dataset = None
                _remove_files_beside(final, written)
    except (RuntimeError, OSError) as error:
        # Errors of the caller's block are passed on unchanged.
        if error is block_error:
            raise
        raise _write_error(path, error) from error


def _remove_files_beside(path: Path, written: bool) -> None:
    """Remove the files that GDAL wrote next to a temporary file.

    Their names are known unless GDAL was interrupted: looking through a folder takes as long as it
    has files.
    """
    suffixes = ('.strips', '.strips.ovr', '.strips.aux.xml', '.aux.xml')
    files = [path.with_name(path.name + suffix) for suffix in suffixes]
    for file in files if written else path.parent.glob(f'{glob.escape(path.name)}.*'):
        file.unlink(missing_ok=True)


def _write_error(path: str | os.PathLike, error: Exception) -> RasterError:
    return RasterError(f'{path}: cannot be written ({error})')


def _write_cog(dataset, path: Path, resampling: str) -> None:
    """Rewrite the dataset as a Cloud-Optimized GeoTIFF with overviews; omit empty blocks."""
    _build_overviews(dataset, resampling)
    side = max(dataset.RasterYSize, dataset.RasterXSize)
    options = [
        'COMPRESS=DEFLATE',
        f'BLOCKSIZE={min(_COG_BLOCK, -(-side // 16) * 16)}',  # a multiple of 16
        'BIGTIFF=IF_SAFER',
        'SPARSE_OK=TRUE',
    ]
    if side > _COG_BLOCK:
        options.append('NUM_THREADS=ALL_CPUS')
    gdal.GetDriverByName('COG').CreateCopy(str(path), dataset, options=options)


def _build_overviews(dataset, resampling: str) -> None:
    """Add the overviews of a Cloud-Optimized GeoTIFF to a dataset.

    GDAL would read the whole dataset for each overview, and resample also what is empty.
    """
    height, width = dataset.RasterYSize, dataset.RasterXSize
    factors: list[int] = []
    while max(height, width) > _COG_BLOCK << len(factors):
        factors.append(2 << len(factors))
    if not factors:
        return
    dataset.BuildOverviews('NONE', factors)
    side = max(2048, factors[-1])  # each overview has whole pixels in a block
    for i in range(dataset.RasterCount):
        band = dataset.GetRasterBand(i + 1)
        for column, row, columns, rows in block_windows(height, width, side):
            status, _ = band.GetDataCoverageStatus(column, row, columns, rows)
            if status == gdal.GDAL_DATA_COVERAGE_STATUS_EMPTY:
                continue
            block = gdal.GetDriverByName('MEM').Create('', columns, rows, 1, band.DataType)
            target = block.GetRasterBand(1)
            if band.GetNoDataValue() is not None:
                target.SetNoDataValue(band.GetNoDataValue())
            target.WriteArray(band.ReadAsArray(column, row, columns, rows))
            block.BuildOverviews(resampling, factors)
            for level, factor in enumerate(factors):
                samples = target.GetOverview(level).ReadAsArray()
                band.GetOverview(level).WriteArray(samples, column // factor, row // factor)
    dataset.FlushCache()
