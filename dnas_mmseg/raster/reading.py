"""Reading rasters: the samples as they are stored, whatever the photometric tag says."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ._gdal import RasterError, gdal, gdal_array, gdal_exceptions


class Window(NamedTuple):
    """A rectangle of a raster, in pixels."""

    row: int
    column: int
    height: int
    width: int


@dataclass(frozen=True)
class RasterInfo:
    """What a raster is, without its samples.

    Attributes:
        path: The file.
        height, width: Size in pixels.
        bands: Number of bands.
        dtype: numpy name of the sample type; it is the same for all bands.
        names: Band descriptions in lower case, in file order; empty where any is missing.
        nodata: Nodata value of each band, None where a band has none.
        crs: Coordinate reference system as WKT; empty where there is none.
        transform: GDAL's affine geotransform, None where there is none.
    """

    path: str
    height: int
    width: int
    bands: int
    dtype: str
    names: tuple[str, ...]
    nodata: tuple[float | None, ...]
    crs: str
    transform: tuple[float, ...] | None

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width


class Raster:
    """A raster file open for reading.

    The handle is opened on first use in each process: a GDAL handle must not cross a fork, so a
    reader made in the main process and used in a worker opens the file again there.

    Args:
        path: Any raster GDAL reads. TIFFs tagged CMYK, YCbCr or palette are read without colour
            conversion, so the samples are those that were written.

    Raises:
        RasterError: From every method, where the file is missing, truncated or no raster.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = os.fspath(path)
        self._handle = None
        self._process: int | None = None

    def __enter__(self) -> Raster:
        return self

    def __exit__(self, *_) -> None:
        self._handle = None

    def __getstate__(self) -> dict:
        return {'path': self.path, '_handle': None, '_process': None}

    @property
    def info(self) -> RasterInfo:
        """Size, type, band names, nodata and georeference."""
        dataset = self._dataset()
        bands = [dataset.GetRasterBand(i + 1) for i in range(dataset.RasterCount)]
        types = {gdal.GetDataTypeName(band.DataType) for band in bands}
        if len(types) != 1:
            raise RasterError(f'{self.path}: bands of different types ({", ".join(sorted(types))})')
        names = tuple(band.GetDescription().strip().lower() for band in bands)
        return RasterInfo(
            path=self.path,
            height=dataset.RasterYSize,
            width=dataset.RasterXSize,
            bands=dataset.RasterCount,
            dtype=_numpy_type(bands[0], self.path),
            names=names if all(names) else (),
            nodata=tuple(band.GetNoDataValue() for band in bands),
            crs=dataset.GetProjection(),
            transform=dataset.GetGeoTransform(can_return_null=True),
        )

    def read(self, window: Window | None = None) -> np.ndarray:
        """Samples of all bands.

        Args:
            window: What to read; the whole raster where it is None.

        Returns:
            Array of shape (bands, height, width) in the stored dtype.
        """
        dataset = self._dataset()
        where = {}
        if window is not None:
            row, column, height, width = window
            inside = row >= 0 and column >= 0 and height > 0 and width > 0
            inside &= row + height <= dataset.RasterYSize and column + width <= dataset.RasterXSize
            if not inside:
                raise RasterError(
                    f'{self.path}: {window} does not lie in {dataset.RasterYSize} rows x '
                    f'{dataset.RasterXSize} columns'
                )
            where = {'xoff': column, 'yoff': row, 'xsize': width, 'ysize': height}
        return self._read_array(f' at {window}' if window else '', **where)

    def thumbnail(self, side: int) -> np.ndarray:
        """Samples of all bands at a lower resolution, from overviews where there are any.

        Args:
            side: Of the longer side, in pixels; a smaller raster stays as it is.

        Returns:
            Array of shape (bands, height, width) in the stored dtype.

        Raises:
            RasterError: The samples cannot be read.
        """
        dataset = self._dataset()
        height, width = dataset.RasterYSize, dataset.RasterXSize
        factor = min(1, side / max(height, width))
        size = [max(1, round(factor * length)) for length in (width, height)]
        return self._read_array('', buf_xsize=size[0], buf_ysize=size[1])

    def _read_array(self, place: str, **where: int) -> np.ndarray:
        try:
            with gdal_exceptions():
                samples = self._dataset().ReadAsArray(**where)
        except RuntimeError as error:
            samples, reason = None, str(error)
        else:
            reason = 'GDAL returned nothing'
        if samples is None:
            raise RasterError(
                f'{self.path}: samples{place} cannot be read; the file is truncated or damaged '
                f'({reason})'
            )
        return samples if samples.ndim == 3 else samples[None]

    def _dataset(self):
        if self._handle is None or self._process != os.getpid():
            self._handle, self._process = _open(self.path), os.getpid()
        return self._handle


def read_raster(path: str | os.PathLike) -> np.ndarray:
    """All samples of a raster, shape (bands, height, width); see :class:`Raster`."""
    with Raster(path) as raster:
        return raster.read()


def nodata_mask(samples: np.ndarray, nodata: tuple[float | None, ...]) -> np.ndarray | None:
    """Pixels without data.

    A pixel has no data where every band that declares a nodata value holds it (a single band may
    hold 0 on water or in shadow), or where any band is NaN.

    Args:
        samples: Shape (bands, height, width).
        nodata: One value a band, None where a band declares none.

    Returns:
        Boolean (height, width), or None where nothing is missing.
    """
    mask = np.zeros(samples.shape[1:], bool)
    declared = [
        (band, value)
        for band, value in zip(samples, nodata, strict=True)
        if value is not None and not np.isnan(value)
    ]
    if declared:
        mask |= np.logical_and.reduce([band == value for band, value in declared])
    if np.issubdtype(samples.dtype, np.floating):
        mask |= np.isnan(samples).any(0)
    return mask if mask.any() else None


def _open(path: str):
    if not os.path.exists(path):
        raise RasterError(f'{path}: no such file')
    try:
        with gdal_exceptions():
            driver = gdal.IdentifyDriver(path)
            # A plain open hands CMYK and other tagged TIFFs through a conversion to RGBA.
            raw = driver is not None and driver.ShortName in ('GTiff', 'COG')
            dataset = gdal.Open(f'GTIFF_RAW:{path}' if raw else path)
    except RuntimeError as error:
        reason = 'it is empty' if Path(path).stat().st_size == 0 else str(error)
        raise RasterError(f'{path}: not a raster that GDAL can open ({reason})') from None
    if dataset is None or not dataset.RasterCount:
        raise RasterError(f'{path}: holds no raster bands')
    return dataset


def _numpy_type(band, path: str) -> str:
    code = gdal_array.GDALTypeCodeToNumericTypeCode(band.DataType)
    if code is None:
        raise RasterError(f'{path}: sample type {gdal.GetDataTypeName(band.DataType)} is not known')
    return np.dtype(code).name
