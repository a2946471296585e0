"""Writing of large maps from top to bottom: whole or not at all, never all of it in memory."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from dnas_mmseg.files import atomic_path

from ._gdal import RasterError, gdal, gdal_exceptions
from .georeference import GeoReference
from .reading import MAP_OF
from .writing import GDAL_TYPES, describe_bands, describe_classes

_PLAIN = (
    'TILED=YES', 'COMPRESS=DEFLATE', 'ZLEVEL=1', 'BIGTIFF=IF_SAFER', 'INTERLEAVE=BAND',
    'SPARSE_OK=TRUE',
)  # fmt: skip


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
    palette: Sequence[Sequence[int]] | None = None,
    classes: Sequence[str] = (),
    resampling: str = 'NEAREST',
    map_of: str = '',
) -> Iterator[Callable[..., None]]:
    """Write a Cloud-Optimised GeoTIFF in strips of full width.

    The strips go to a temporary tiled file; when the block ends well, that is rewritten with
    overviews and appears under its name. A failure (full disk, ^C) leaves nothing.

    Args:
        path: Final path, ending in ``.tif``.
        height, width: Size of the whole map, in pixels.
        names: Descriptions of the bands, one for each band.
        dtype: Name of the numpy type of the samples.
        nodata: Nodata value of all bands.
        georeference: Georeference of the map.
        palette: RGB colours of the values 0, 1, ...; for one band of uint8.
        classes: Names of the values 0, 1, ..., which have a colour each. GIS programs read them
            from the file's ``.aux.xml``, which appears right before the map does.
        resampling: Resampling of overviews: ``'MODE'`` for classes, ``'AVERAGE'`` for measures.
        map_of: Name of the scene that is mapped, for :attr:`RasterInfo.map_of`.

    Yields:
        Function ``write(samples, row, column=0)`` with samples (bands, rows, columns) and their
        upper left pixel. What is not written is nodata.

    Raises:
        RasterError: The file cannot be written.
    """
    inside: BaseException | None = None
    try:
        with atomic_path(path) as final:
            plain = final.with_name(f'{final.name}.strips')
            dataset: Any = None
            try:
                with gdal_exceptions():
                    dataset = gdal.GetDriverByName('GTiff').Create(
                        str(plain), width, height, len(names), GDAL_TYPES[dtype], list(_PLAIN)
                    )
                    describe_bands(dataset, nodata, palette)
                    for i, name in enumerate(names):
                        dataset.GetRasterBand(i + 1).SetDescription(name)
                    georeference.write(dataset)
                    if classes:
                        describe_classes(dataset, classes, palette or ())
                    if map_of:
                        dataset.SetMetadataItem(MAP_OF, map_of)

                def write(samples: np.ndarray, row: int, column: int = 0) -> None:
                    try:
                        with gdal_exceptions():
                            status = dataset.WriteArray(np.ascontiguousarray(samples), column, row)
                        if status:  # where another thread has switched exceptions off
                            raise RuntimeError(gdal.GetLastErrorMsg())
                    except RuntimeError as error:
                        raise _named(path, error) from error

                try:
                    yield write
                except BaseException as error:
                    inside = error
                    raise
                with gdal_exceptions():
                    gdal.ErrorReset()
                    dataset.FlushCache()
                    _optimise(dataset, final, resampling)
                    dataset = None
                    # Closing a file writes the rest of it, and reports a full disk this way only.
                    if gdal.GetLastErrorType() >= gdal.CE_Failure:
                        raise RuntimeError(gdal.GetLastErrorMsg())
                aside = final.with_name(f'{final.name}.aux.xml')
                if aside.is_file():  # before the map, which is finished when it has its name
                    with atomic_path(f'{os.fspath(path)}.aux.xml') as temporary:
                        temporary.write_bytes(aside.read_bytes())
            finally:
                dataset = None
                for leftover in final.parent.glob(f'{glob.escape(final.name)}.*'):
                    leftover.unlink()
    except (RuntimeError, OSError) as error:
        # What fails between two strips, in the network for instance, keeps its own words.
        if error is inside:
            raise
        raise _named(path, error) from error


def _named(path: str | os.PathLike, error: Exception) -> RasterError:
    return RasterError(f'{path}: cannot be written ({error})')


def _optimise(dataset, path: Path, resampling: str) -> None:
    """Write the file with its overviews, and close it."""
    options = [
        'COMPRESS=DEFLATE',
        'BLOCKSIZE=512',
        'BIGTIFF=IF_SAFER',
        'NUM_THREADS=ALL_CPUS',
        f'RESAMPLING={resampling}',
    ]
    gdal.GetDriverByName('COG').CreateCopy(str(path), dataset, options=options)
