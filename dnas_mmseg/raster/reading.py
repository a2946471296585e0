"""Reading of rasters: samples as stored, without colour conversion by photometric tags."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from ._gdal import RasterError, gdal, gdal_exceptions
from .arrays import parse_array_name
from .opening import find_network_settings, list_files, open_dataset
from .raster_info import RasterInfo
from .remote import network_settings, retry
from .validity import Samples
from .windows import Window

Result = TypeVar('Result')


class Raster:
    """Reader of a raster.

    The file is opened on first use, once per process: a GDAL handle must not cross a fork, so a
    loader's worker opens its own.

    Args:
        path: Path or name of any dataset that GDAL reads: a file, ``/vsizip/...``,
            ``/vsicurl/...``, ``NETCDF:"x.nc":name``; or a NumPy or HDF5 array: ``tile.npy``,
            ``ARRAY:"tiles.h5":images:17`` (:mod:`dnas_mmseg.raster.arrays`). TIFFs tagged as CMYK,
            YCbCr or palette are read without colour conversion. Failed requests to remote files
            are repeated (:func:`dnas_mmseg.raster.remote.retry`).
        nodata: Nodata value, in addition to the declared ones.
        apply_scale: Whether :meth:`samples` applies the declared scale and offset of the bands.

    Raises:
        RasterError: The file is missing, truncated, or not a raster, or a server does not respond;
            raised by every method.

    Example:
        >>> from dnas_mmseg.raster import write_raster
        >>> write_raster('a.tif', np.arange(64, dtype=np.uint8).reshape(1, 8, 8), nodata=0)
        >>> with Raster('a.tif') as raster:
        ...     raster.info.shape, raster.read(Window(col_off=2, row_off=1, width=3, height=1))
        ((8, 8), array([[[10, 11, 12]]], dtype=uint8))
    """

    def __init__(
        self,
        path: str | os.PathLike,
        nodata: float | None = None,
        apply_scale: bool = False,
    ) -> None:
        self.path = os.fspath(path)
        self.nodata, self.apply_scale = nodata, apply_scale
        self._handle = None
        self._process: int | None = None
        self._info: RasterInfo | None = None
        self._settings: dict[str, str] | None = None

    def __enter__(self) -> Raster:
        return self

    def __exit__(self, *_) -> None:
        self._close()

    def _close(self) -> None:
        self._handle = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_handle': None, '_process': None}

    @property
    def info(self) -> RasterInfo:
        """Metadata of the raster."""
        if self._info is None:
            try:
                self._info = self._access(lambda dataset: RasterInfo.read(dataset, self.path))
            except RuntimeError as error:
                raise RasterError(f'{self.path}: the metadata cannot be read ({error})') from error
        return self._info

    def read(self, window: Window | None = None, bands: Sequence[int] | None = None) -> np.ndarray:
        """Read samples as they are stored.

        Args:
            window: Window to read; defaults to the whole raster.
            bands: Indices of the bands, from 0; defaults to all, alpha included.

        Returns:
            Samples, (bands, height, width), in the stored type, or in the common type of bands of
            different types.
        """
        return self._read_bands(bands, self._window(window), f' at {window}' if window else '')

    def samples(
        self,
        window: Window | None = None,
        bands: Sequence[int] | None = None,
        side: int | None = None,
    ) -> Samples:
        """Read samples together with their validity.

        Args:
            window: Window to read; defaults to the whole raster.
            bands: Indices of the bands, from 0; defaults to all except alpha. A selected alpha band
                is a band like any other and masks nothing.
            side: Longer side in pixels to which the whole raster is downsampled, from overviews if
                there are any; defaults to full resolution.
        """
        info = self.info
        alpha = set(range(info.bands)) - set(info.data_bands)
        bands = list(info.data_bands if bands is None else bands)
        masking = alpha - set(bands)
        where = self._window(window) if side is None else self._downsampled(side)
        text = f' at {window}' if window else ''
        masked = None
        if info.has_mask:
            masked = self._read(_mask_band, where, text) == 0
        for i in masking:
            transparent = self._read_bands([i], where, text)[0] == 0
            masked = transparent if masked is None else masked | transparent
        nodata = tuple(info.nodata[i] for i in bands)
        alpha_places = tuple(place for place, i in enumerate(bands) if i in alpha)
        values = self._read_bands(bands, where, text)
        samples = Samples(values, nodata, masked, self.nodata, alpha_places)
        if not self.apply_scale:
            return samples
        scale, offset = np.array([info.scaling[i] for i in bands], np.float32).T[:, :, None, None]
        scaled = values.astype(np.float32) * scale + offset
        return Samples(scaled, (None,) * len(bands), samples.invalid, None, alpha_places)

    def is_empty(self, window: Window, bands: Sequence[int] | None = None) -> bool:
        """Return whether a window certainly has no valid pixel, without reading samples.

        It has none if no data are stored for it (blocks of a sparse TIFF, gaps between the sources
        of a VRT) and the value in their place is nodata, or if the mask or an alpha band is 0
        everywhere. False does not mean that there is a valid pixel.

        Args:
            window: Window of the raster.
            bands: Indices of the bands, from 0; defaults to all except alpha.

        Raises:
            RasterError: The mask cannot be read.
        """
        info = self.info
        bands = list(info.data_bands if bands is None else bands)
        where, text = self._window(window), f' at {window}'
        if bands and all(self._is_stored(i, window) is False for i in bands):
            nodata = tuple(info.nodata[i] for i in bands)
            fill = np.array([0.0 if value is None else value for value in nodata])[:, None, None]
            with np.errstate(invalid='ignore'):
                values = fill.astype(info.dtype_of(bands))
            # GDAL fills with some other value if an integer type does not hold the nodata value.
            is_known = values.dtype.kind == 'f' or np.array_equal(values, fill)
            if is_known and Samples(values, nodata, None, self.nodata).invalid is not None:
                return True
        if info.has_mask and not self._read(_mask_band, where, text).any():
            return True
        alpha = set(range(info.bands)) - set(info.data_bands) - set(bands)
        return any(not self._read_bands([i], where, text).any() for i in alpha)

    def _is_stored(self, band: int, window: Window) -> bool | None:
        """Return whether data are stored for a window of a band; None if unknown.

        Without a declared nodata value, the value of missing data is only known for TIFFs: 0.
        """

        def status(dataset: gdal.Dataset) -> int:
            if self.info.nodata[band] is None and dataset.GetDriver().ShortName != 'GTiff':
                return gdal.GDAL_DATA_COVERAGE_STATUS_UNIMPLEMENTED
            gdal.ErrorReset()
            flags = dataset.GetRasterBand(band + 1).GetDataCoverageStatus(*window)[0]
            if gdal.GetLastErrorType() >= gdal.CE_Failure:
                raise RuntimeError(gdal.GetLastErrorMsg())
            return flags

        try:
            flags = self._access(status)
        except RuntimeError:
            return None
        if flags & gdal.GDAL_DATA_COVERAGE_STATUS_UNIMPLEMENTED:
            return None
        return bool(flags & gdal.GDAL_DATA_COVERAGE_STATUS_DATA)

    def find_files(self) -> list[Path]:
        """Return all local files that the raster consists of; see :func:`source_files`."""
        array = parse_array_name(self.path)
        if array is not None:
            return [Path(array.file).resolve()]
        found = (file_on_disk(name) for name in list_files(self._dataset()))
        return list(dict.fromkeys(file for file in found if file is not None))

    def _window(self, window: Window | None) -> dict[str, int]:
        """Return a window as arguments of ``ReadAsArray``."""
        if window is None:
            return {}
        dataset = self._dataset()
        column, row, width, height = window
        inside = row >= 0 and column >= 0 and height > 0 and width > 0
        inside &= row + height <= dataset.RasterYSize and column + width <= dataset.RasterXSize
        if not inside:
            raise RasterError(
                f'{self.path}: {window} is not inside {dataset.RasterYSize} rows x '
                f'{dataset.RasterXSize} columns'
            )
        return {'xoff': column, 'yoff': row, 'xsize': width, 'ysize': height}

    def _downsampled(self, side: int) -> dict[str, int]:
        dataset = self._dataset()
        height, width = dataset.RasterYSize, dataset.RasterXSize
        factor = min(1, side / max(height, width))
        sizes = [max(1, round(factor * length)) for length in (width, height)]
        return {'buf_xsize': sizes[0], 'buf_ysize': sizes[1]}

    def _read_bands(
        self, bands: Sequence[int] | None, where: dict[str, int], place: str
    ) -> np.ndarray:
        info = self.info
        chosen = [i + 1 for i in (range(info.bands) if bands is None else bands)]
        types = {info.dtypes[i - 1] for i in chosen}
        if len(types) == 1:
            # A call per band would decode pixel-interleaved blocks once for each band.
            samples = self._read(lambda d: d, {**where, 'band_list': chosen}, place)
            return samples if samples.ndim == 3 else samples[None]
        parts = [
            self._read(lambda d, i=i: d.GetRasterBand(i), where, place)  # type: ignore[misc]
            for i in chosen
        ]
        return np.stack([part.astype(np.result_type(*types), copy=False) for part in parts])

    def _read(
        self, select: Callable[[gdal.Dataset], gdal.Dataset | gdal.Band], where: dict, place: str
    ) -> np.ndarray:
        """Read from a dataset or the selected band of it."""

        def read(dataset: gdal.Dataset) -> np.ndarray:
            source, words = select(dataset), where
            if isinstance(source, gdal.Band):
                names = {'xsize': 'win_xsize', 'ysize': 'win_ysize'}
                words = {names.get(key, key): value for key, value in where.items()}
            gdal.ErrorReset()
            samples = source.ReadAsArray(**words)
            # GDAL reads blocks as empty whose offsets cannot be read, and reports only an error.
            if samples is None or gdal.GetLastErrorType() >= gdal.CE_Failure:
                raise RuntimeError(gdal.GetLastErrorMsg() or 'GDAL returned nothing')
            return samples

        try:
            return self._access(read)
        except RuntimeError as error:
            damage = 'the file is truncated or damaged'
            if self._settings is not None:
                damage += ', or the server failed repeatedly'
            raise RasterError(
                f'{self.path}: samples{place} cannot be read; {damage} ({error})'
            ) from error

    def _access(self, action: Callable[[gdal.Dataset], Result]) -> Result:
        """Call a function with the dataset, repeatedly if it is remote and a request fails.

        Raises:
            RuntimeError: GDAL failed.
        """
        self._dataset()
        with gdal_exceptions():
            if self._settings is None:
                return action(self._dataset())
            with network_settings(self._settings):
                return retry(lambda: action(self._dataset()), self._close)

    def _dataset(self) -> gdal.Dataset:
        if self._handle is None or self._process != os.getpid():
            self._handle, self._process = open_dataset(self.path), os.getpid()
            self._settings = find_network_settings(self._handle, self.path)
        return self._handle


def source_files(path: str | os.PathLike) -> list[Path]:
    """Return all files that a raster consists of: itself, sidecar files, sources of a VRT.

    Sources of nested VRTs are included, and archives instead of their members.
    """
    with Raster(path) as raster:
        return raster.find_files()


def file_on_disk(name: str) -> Path | None:
    """Return the file of a GDAL path, the archive of ``/vsizip/`` and ``/vsitar/``, or None."""
    member = re.match(r'/vsi(?:zip|tar)/(.*)', name)
    path = Path(member[1] if member else name)
    candidates = (path, *path.parents) if member else (path,)
    return next((file.resolve() for file in candidates if file.is_file()), None)


def read_raster(path: str | os.PathLike) -> np.ndarray:
    """Read all samples of a raster, (bands, height, width); see :class:`Raster`."""
    with Raster(path) as raster:
        return raster.read()


def _mask_band(dataset: gdal.Dataset) -> gdal.Band:
    return dataset.GetRasterBand(1).GetMaskBand()
