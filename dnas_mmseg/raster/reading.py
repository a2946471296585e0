"""Reading of rasters: samples as stored, without colour conversion by photometric tags."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from dnas_mmseg.bands import ALPHA, described_bands
from dnas_mmseg.errors import redact_urls

from ._gdal import RasterError, gdal, gdal_array, gdal_exceptions
from .arrays import open_array, parse_array_name
from .georeference import GeoReference
from .remote import is_remote, network_settings, open_remote, retry, source_settings
from .validity import Samples

Result = TypeVar('Result')

MAP_OF = 'dnas_map_of'
"""Metadata item of a map with the name of its scene."""

RASTER_SUFFIXES = ('.tif', '.tiff', '.png', '.jpg', '.jpeg', '.vrt', '.img', '.jp2', '.npy')
"""Suffixes by which rasters are found in folders."""

VECTOR_SUFFIXES = ('.fgb', '.geojson', '.gpkg', '.json', '.kml', '.shp')
"""Suffixes by which vector files are found in folders."""

_COLOURS = {'Red': 'red', 'Green': 'green', 'Blue': 'blue', 'NIR': 'nir', 'Alpha': ALPHA}


class Window(NamedTuple):
    """Rectangle of a raster in pixels, in the order of ``rasterio.windows.Window``.

    Example:
        >>> Window(col_off=11, row_off=5, width=7, height=20)
        Window(col_off=11, row_off=5, width=7, height=20)
    """

    col_off: int
    row_off: int
    width: int
    height: int

    def intersect(self, other: Window) -> Window | None:
        """Return the common part of two windows; None if there is none."""
        left, top = max(self.col_off, other.col_off), max(self.row_off, other.row_off)
        right = min(self.col_off + self.width, other.col_off + other.width)
        bottom = min(self.row_off + self.height, other.row_off + other.height)
        if right <= left or bottom <= top:
            return None
        return Window(left, top, right - left, bottom - top)

    def slices_in(self, outer: Window) -> tuple[slice, slice]:
        """Return rows and columns of this window in the samples of a window around it."""
        row, column = self.row_off - outer.row_off, self.col_off - outer.col_off
        return slice(row, row + self.height), slice(column, column + self.width)


@dataclass(frozen=True)
class RasterInfo:
    """Metadata of a raster.

    Attributes:
        path: Path or GDAL dataset name.
        height, width: Size in pixels.
        dtypes: Name of the numpy type of each band's samples.
        descriptions: Name in each band's description (:func:`dnas_mmseg.bands.described_bands`), or
            ``''``.
        colours: Colour interpretation of each band: ``'red'``, ``'green'``, ``'blue'``, ``'nir'``
            (GDAL 3.10 and later), ``'alpha'``, or ``''``.
        nodata: Nodata value of each band, or None.
        has_mask: Whether the file has a mask, internal or ``.msk``.
        georeference: Georeference of the raster.
        scaling: Declared scale and offset of each band; 1 and 0 if none.
        colour_table: RGB colours of the first band's values 0, 1, ...; empty if none.
        map_of: Name of the scene of a map, if :func:`write_strips` stored one.
        class_names: Names of the classes of a map, if :func:`write_strips` stored them.
        acquired: Acquisition time, ``'YYYY-MM-DD HH:MM:SS'`` in UTC; empty if unknown.
    """

    path: str
    height: int
    width: int
    dtypes: tuple[str, ...]
    descriptions: tuple[str, ...]
    colours: tuple[str, ...]
    nodata: tuple[float | None, ...]
    has_mask: bool
    georeference: GeoReference
    scaling: tuple[tuple[float, float], ...] = ()
    colour_table: tuple[tuple[int, int, int], ...] = ()
    map_of: str = ''
    class_names: tuple[str, ...] = ()
    acquired: str = ''

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.height, self.width

    @property
    def bands(self) -> int:
        """Number of bands, alpha included."""
        return len(self.dtypes)

    @property
    def data_bands(self) -> tuple[int, ...]:
        """Positions of all bands except alpha, from 0."""
        return tuple(i for i, name in enumerate(self.band_names) if name != ALPHA)

    @property
    def dtype(self) -> str:
        """Name of the common numpy type of all bands except alpha."""
        return self.dtype_of(self.data_bands)

    def dtype_of(self, bands: Sequence[int]) -> str:
        """Return the name of the common numpy type of these bands."""
        return np.result_type(*(self.dtypes[i] for i in bands or range(self.bands))).name

    @property
    def band_names(self) -> tuple[str, ...]:
        """Name of each band as stored in the file, or ``''``.

        A description takes precedence over a colour interpretation: GDAL tags four bands as red,
        green, blue and alpha by default, whatever they are.
        """
        return tuple(d or c for d, c in zip(self.descriptions, self.colours, strict=True))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all bands except alpha, in file order; empty if any has none."""
        names = tuple(self.band_names[i] for i in self.data_bands)
        return names if all(names) else ()

    @property
    def may_have_invalid(self) -> bool:
        """Whether the file's metadata or sample types allow invalid pixels."""
        return (
            self.has_mask
            or len(self.data_bands) < self.bands
            or any(value is not None for value in self.nodata)
            or any(np.dtype(name).kind == 'f' for name in self.dtypes)
        )


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
                self._info = self._access(self._read_info)
            except RuntimeError as error:
                raise RasterError(f'{self.path}: the metadata cannot be read ({error})') from error
        return self._info

    def _read_info(self, dataset: gdal.Dataset) -> RasterInfo:
        bands = [dataset.GetRasterBand(i + 1) for i in range(dataset.RasterCount)]
        return RasterInfo(
            path=self.path,
            height=dataset.RasterYSize,
            width=dataset.RasterXSize,
            dtypes=tuple(_numpy_type(band, self.path) for band in bands),
            descriptions=described_bands(
                [band.GetDescription() for band in bands], _sensor_text(dataset, self.path)
            ),
            colours=tuple(
                _COLOURS.get(gdal.GetColorInterpretationName(band.GetColorInterpretation()), '')
                for band in bands
            ),
            nodata=tuple(band.GetNoDataValue() for band in bands),
            has_mask=any(band.GetMaskFlags() == gdal.GMF_PER_DATASET for band in bands),
            georeference=GeoReference.read(dataset),
            scaling=tuple(
                (_or_default(b.GetScale(), 1.0), _or_default(b.GetOffset(), 0.0)) for b in bands
            ),
            colour_table=_colour_table(bands[0]),
            map_of=dataset.GetMetadataItem(MAP_OF) or '',
            class_names=_class_names(dataset),
            acquired=dataset.GetMetadataItem('ACQUISITIONDATETIME', 'IMAGERY') or '',
        )

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
            fill = [0.0 if info.nodata[i] is None else info.nodata[i] for i in bands]
            values = np.array(fill, info.dtype_of(bands))[:, None, None]
            nodata = tuple(info.nodata[i] for i in bands)
            if Samples(values, nodata, None, self.nodata).invalid is not None:
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
        found: dict[Path, None] = {}
        datasets = [self._dataset()]
        while datasets:
            for name in datasets.pop().GetFileList() or []:
                file = _file_on_disk(name)
                if file is None or file in found:
                    continue
                found[file] = None
                if file.suffix.lower() == '.vrt':
                    datasets.append(_open(str(file)))
        return list(found)

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
            self._handle, self._process = _open(self.path), os.getpid()
            self._settings = _network_settings(self._handle, self.path)
        return self._handle


def source_files(path: str | os.PathLike) -> list[Path]:
    """Return all files that a raster consists of: itself, sidecar files, sources of a VRT.

    Sources of nested VRTs are included, and archives instead of their members.
    """
    with Raster(path) as raster:
        return raster.find_files()


def _file_on_disk(name: str) -> Path | None:
    """Return the file of a GDAL path, the archive of ``/vsizip/`` and ``/vsitar/``, or None."""
    member = re.match(r'/vsi(?:zip|tar)/(.*)', name)
    path = Path(member[1] if member else name)
    candidates = (path, *path.parents) if member else (path,)
    return next((file.resolve() for file in candidates if file.is_file()), None)


def read_raster(path: str | os.PathLike) -> np.ndarray:
    """Read all samples of a raster, (bands, height, width); see :class:`Raster`."""
    with Raster(path) as raster:
        return raster.read()


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


def row_windows(height: int, width: int, rows: int) -> Iterator[Window]:
    """Yield windows of whole rows that cover a raster.

    Args:
        height, width: Size of the raster, in pixels.
        rows: Height of a window; the last one may be lower.

    Example:
        >>> [window.height for window in row_windows(10, 7, 4)]
        [4, 4, 2]
    """
    for row in range(0, height, rows):
        yield Window(0, row, width, min(rows, height - row))


def block_windows(height: int, width: int, side: int) -> list[Window]:
    """Return square windows that cover a raster, row by row.

    Args:
        height, width: Size of the raster, in pixels.
        side: Side of a window; those at the right and lower border may be smaller.

    Example:
        >>> [tuple(window) for window in block_windows(3, 5, 4)]
        [(0, 0, 4, 3), (4, 0, 1, 3)]
    """
    return [
        Window(column, row, min(side, width - column), min(side, height - row))
        for row in range(0, height, side)
        for column in range(0, width, side)
    ]


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


def _vector_hint(path: str) -> str:
    """Return how to rasterize a vector file; empty for other files."""
    if not is_vector(path):
        return ''
    return '; it contains polygons: dnas convert --class-field FIELD rasterizes them on the scenes'


def _open(path: str) -> gdal.Dataset:
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


def _network_settings(dataset: gdal.Dataset, path: str) -> dict[str, str] | None:
    """Return the options for reading a dataset over the network; None if it is local."""
    driver = dataset.GetDriver()
    is_vrt = driver is not None and driver.ShortName == 'VRT'
    files = dataset.GetFileList() or [] if is_vrt else []
    sources = [file for file in files if file != path]
    if not any(map(is_remote, (path, *sources))):
        return None
    try:
        return retry(lambda: source_settings(sources)) if sources else {}
    except RuntimeError as error:
        raise RasterError(f'{path}: a source cannot be found ({error})') from error


def _mask_band(dataset: gdal.Dataset) -> gdal.Band:
    return dataset.GetRasterBand(1).GetMaskBand()


def _or_default(value: float | None, default: float) -> float:
    return default if value is None else float(value)


def _colour_table(band: gdal.Band) -> tuple[tuple[int, int, int], ...]:
    table = band.GetColorTable()
    if table is None:
        return ()
    entries = (table.GetColorEntry(i) for i in range(table.GetCount()))
    return tuple((red, green, blue) for red, green, blue, *_ in entries)


def _class_names(dataset: gdal.Dataset) -> tuple[str, ...]:
    items = dataset.GetMetadata()
    keys = (f'class_{i}' for i in range(len(items)))
    return tuple(items[key] for key in takewhile(items.__contains__, keys))


def _sensor_text(dataset: gdal.Dataset, path: str) -> str:
    """Return the file name and the metadata that may name the sensor."""
    items = {**dataset.GetMetadata(), **(dataset.GetMetadata('IMAGERY') or {})}
    words = ('spacecraft', 'satellite', 'platform', 'mission', 'product', 'sensor')
    described = [str(v) for k, v in items.items() if any(word in k.lower() for word in words)]
    return ' '.join((Path(path).name, *described))


def _numpy_type(band: gdal.Band, path: str) -> str:
    code = gdal_array.GDALTypeCodeToNumericTypeCode(band.DataType)
    name = gdal.GetDataTypeName(band.DataType)
    if code is None:
        raise RasterError(f'{path}: unsupported sample type {name}')
    if np.dtype(code).kind == 'c':
        raise RasterError(
            f'{path}: unsupported complex samples ({name}): store amplitude, or real and imaginary '
            'part, as separate bands'
        )
    return np.dtype(code).name
