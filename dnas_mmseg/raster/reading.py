"""Reading of rasters: the samples as they are stored, whatever the photometric tag says."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dnas_mmseg.bands import ALPHA, described_bands

from ._gdal import RasterError, gdal, gdal_array, gdal_exceptions
from .georeference import GeoReference
from .validity import Samples

MAP_OF = 'dnas_map_of'
"""Metadata item of maps: name of the scene."""

_COLOURS = {'Red': 'red', 'Green': 'green', 'Blue': 'blue', 'NIR': 'nir', 'Alpha': ALPHA}


class Window(NamedTuple):
    """A rectangle of a raster in pixels, in rasterio's order: offsets (x, y), then size (x, y).

    Example:
        >>> Window(col_off=11, row_off=5, width=7, height=20)
        Window(col_off=11, row_off=5, width=7, height=20)
    """

    col_off: int
    row_off: int
    width: int
    height: int


@dataclass(frozen=True)
class RasterInfo:
    """Facts of a raster, without its samples.

    Attributes:
        path: Path of the file, or another name that GDAL opens.
        height, width: Size in pixels.
        dtypes: Name of the numpy type of each band's samples.
        descriptions: Name in each band's description (:func:`described_bands`), ``''`` where there
            is none.
        colours: Colour interpretation of each band: ``'red'``, ``'green'``, ``'blue'``, ``'nir'``
            (GDAL 3.10 and later), ``'alpha'``, or ``''``.
        nodata: Nodata value of each band, None where a band has none.
        has_mask: Whether the file has a mask of its own (internal or ``.msk``).
        georeference: Georeference of the raster.
        scaling: Scale and offset that each band declares for its samples; 1 and 0 without.
        colour_table: RGB colours of the first band's values 0, 1, ...; empty without a table.
        map_of: Name of the scene that this is a map of, where :func:`write_strips` stored one.
        acquired: Time at which the image was recorded, ``'YYYY-MM-DD HH:MM:SS'`` in UTC, empty
            where the file does not tell it.
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
        """Positions of all bands but alpha, from 0."""
        return tuple(i for i, name in enumerate(self.band_names) if name != ALPHA)

    @property
    def dtype(self) -> str:
        """Name of the numpy type that holds the samples of all bands but alpha."""
        return self.dtype_of(self.data_bands)

    def dtype_of(self, bands: Sequence[int]) -> str:
        """Return the name of the numpy type that holds the samples of some bands."""
        return np.result_type(*(self.dtypes[i] for i in bands or range(self.bands))).name

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands as stored in the file, ``''`` where it has none.

        A description counts more than a colour: GDAL tags four bands as red, green, blue and alpha
        whatever they are, unless its caller sets an interpretation.
        """
        return tuple(d or c for d, c in zip(self.descriptions, self.colours, strict=True))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the bands but alpha, in file order; empty where any has none."""
        names = tuple(self.band_names[i] for i in self.data_bands)
        return names if all(names) else ()

    @property
    def may_have_invalid(self) -> bool:
        """Whether anything in the file can make a pixel invalid."""
        return (
            self.has_mask
            or len(self.data_bands) < self.bands
            or any(value is not None for value in self.nodata)
            or any(np.dtype(name).kind == 'f' for name in self.dtypes)
        )


class Raster:
    """A raster open for reading.

    The handle is opened on first use in each process: a GDAL handle must not cross a fork, so a
    reader made in the main process and used in a worker opens the file again there.

    Args:
        path: Path or name of anything GDAL reads: a file, ``/vsizip/...``, ``/vsicurl/...``,
            ``NETCDF:"x.nc":name``. TIFFs tagged CMYK, YCbCr or palette are read without colour
            conversion, so the samples are those that were written.
        nodata: Value that is nodata beside what the file declares.
        apply_scale: Whether :meth:`samples` applies the scale and offset that bands declare.

    Raises:
        RasterError: The file is missing, truncated or no raster; raised by every method.
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

    def __enter__(self) -> Raster:
        return self

    def __exit__(self, *_) -> None:
        self._handle = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_handle': None, '_process': None}

    @property
    def info(self) -> RasterInfo:
        """Size, types, names of the bands, nodata and georeference."""
        # Kept: every window that is read asks for it.
        if self._info is None:
            self._info = self._look()
        return self._info

    def _look(self) -> RasterInfo:
        dataset = self._dataset()
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
            scaling=tuple((_number(b.GetScale(), 1.0), _number(b.GetOffset(), 0.0)) for b in bands),
            colour_table=_colour_table(bands[0]),
            map_of=dataset.GetMetadataItem(MAP_OF) or '',
            acquired=dataset.GetMetadataItem('ACQUISITIONDATETIME', 'IMAGERY') or '',
        )

    def read(self, window: Window | None = None, bands: Sequence[int] | None = None) -> np.ndarray:
        """Read samples as they are stored.

        Args:
            window: Window to read; the whole raster where it is None.
            bands: Indices of the bands, from 0; all by default, alpha too.

        Returns:
            Samples, (bands, height, width), in the stored type; where the bands' types differ, in
            one that holds them all.
        """
        return self._read_bands(bands, self._place(window), f' at {window}' if window else '')

    def samples(
        self,
        window: Window | None = None,
        bands: Sequence[int] | None = None,
        side: int | None = None,
    ) -> Samples:
        """Read samples together with their validity.

        Args:
            window: Window to read; the whole raster where it is None.
            bands: Indices of the bands, from 0; by default all but alpha. An alpha band that is
                asked for is a band like others, and masks nothing.
            side: Longer side in pixels of the whole raster at a lower resolution, from overviews
                where there are any; a smaller raster stays as it is. None reads at full resolution.
        """
        info = self.info
        alpha = set(range(info.bands)) - set(info.data_bands)
        bands = list(info.data_bands if bands is None else bands)
        masking = alpha - set(bands)
        where = self._place(window) if side is None else self._scaled(side)
        text = f' at {window}' if window else ''
        masked = None
        if info.has_mask:
            masked = self._read(self._dataset().GetRasterBand(1).GetMaskBand(), where, text) == 0
        for i in masking:
            transparent = self._read_bands([i], where, text)[0] == 0
            masked = transparent if masked is None else masked | transparent
        nodata = tuple(info.nodata[i] for i in bands)
        kept = tuple(place for place, i in enumerate(bands) if i in alpha)
        values = self._read_bands(bands, where, text)
        samples = Samples(values, nodata, masked, self.nodata, kept)
        if not self.apply_scale:
            return samples
        scale, offset = np.array([info.scaling[i] for i in bands], np.float32).T[:, :, None, None]
        scaled = values.astype(np.float32) * scale + offset
        return Samples(scaled, (None,) * len(bands), samples.invalid, None, kept)

    def _place(self, window: Window | None) -> dict[str, int]:
        """Return a window as GDAL's arguments."""
        if window is None:
            return {}
        dataset = self._dataset()
        column, row, width, height = window
        inside = row >= 0 and column >= 0 and height > 0 and width > 0
        inside &= row + height <= dataset.RasterYSize and column + width <= dataset.RasterXSize
        if not inside:
            raise RasterError(
                f'{self.path}: {window} does not lie in {dataset.RasterYSize} rows x '
                f'{dataset.RasterXSize} columns'
            )
        return {'xoff': column, 'yoff': row, 'xsize': width, 'ysize': height}

    def _scaled(self, side: int) -> dict[str, int]:
        dataset = self._dataset()
        height, width = dataset.RasterYSize, dataset.RasterXSize
        factor = min(1, side / max(height, width))
        sizes = [max(1, round(factor * length)) for length in (width, height)]
        return {'buf_xsize': sizes[0], 'buf_ysize': sizes[1]}

    def _read_bands(
        self, bands: Sequence[int] | None, where: dict[str, int], place: str
    ) -> np.ndarray:
        dataset = self._dataset()
        chosen = [i + 1 for i in (range(dataset.RasterCount) if bands is None else bands)]
        types = {_numpy_type(dataset.GetRasterBand(i), self.path) for i in chosen}
        if len(types) == 1:
            # One call: of files that keep a pixel's bands together, a call a band decodes all of
            # them each time.
            samples = self._read(dataset, {**where, 'band_list': chosen}, place)
            return samples if samples.ndim == 3 else samples[None]
        parts = [self._read(dataset.GetRasterBand(i), where, place) for i in chosen]
        return np.stack([part.astype(np.result_type(*types), copy=False) for part in parts])

    def _read(self, source: gdal.Dataset | gdal.Band, where: dict, place: str) -> np.ndarray:
        """Read from a file or one of its bands."""
        words = dict(where)
        if isinstance(source, gdal.Band):
            names = {'xsize': 'win_xsize', 'ysize': 'win_ysize'}
            words = {names.get(key, key): value for key, value in where.items()}
        try:
            with gdal_exceptions():
                samples = source.ReadAsArray(**words)
        except RuntimeError as error:
            samples, reason = None, str(error)
        else:
            reason = 'GDAL returned nothing'
        if samples is None:
            raise RasterError(
                f'{self.path}: samples{place} cannot be read; the file is truncated or damaged '
                f'({reason})'
            )
        return samples

    def _dataset(self) -> gdal.Dataset:
        if self._handle is None or self._process != os.getpid():
            self._handle, self._process = _open(self.path), os.getpid()
        return self._handle


def source_files(path: str | os.PathLike) -> list[Path]:
    """Return all files that a raster is read from: itself, side files, sources of a VRT."""
    dataset = _open(os.fspath(path))
    return [Path(name).resolve() for name in dataset.GetFileList() or [] if os.path.exists(name)]


def read_raster(path: str | os.PathLike) -> np.ndarray:
    """Read all samples of a raster, shape (bands, height, width); see :class:`Raster`."""
    with Raster(path) as raster:
        return raster.read()


def is_virtual(path: str | os.PathLike) -> bool:
    """Return whether a path is one of GDAL's own names, which need not be on the disk.

    A file of such a name (``scene_T10:30.tif``) is a file.
    """
    text = os.fspath(path)
    # Two letters at least: C:\\scene.tif is a path of Windows.
    named = re.match(r'[A-Za-z]\w+:', text) is not None
    return text.startswith('/vsi') or (named and not os.path.exists(text))


def raster_stem(path: str | os.PathLike) -> str:
    """Return the name for files made from a raster: its file's name without the suffix.

    For GDAL's own names, ``NETCDF:"x.nc":B1`` for instance, it is the letters, digits, dots and
    hyphens behind the last slash: ``x.nc_B1``.
    """
    text = os.fspath(path)
    if not is_virtual(text) or text.startswith('/vsi'):
        return Path(text).stem
    behind = re.split(r'[\\/]', text.partition(':')[2])[-1]
    return '_'.join(re.findall(r'[\w.-]+', behind))


_VECTORS = ('.fgb', '.geojson', '.gpkg', '.json', '.kml', '.shp')


def _vector_hint(path: str) -> str:
    """Return what to do with a file of polygons; empty for others."""
    if Path(path).suffix.lower() not in _VECTORS:
        return ''
    return (
        '; it holds polygons: make a raster on the grid of its scene, gdal_rasterize -a FIELD -te '
        'XMIN YMIN XMAX YMAX -ts WIDTH HEIGHT -ot Byte'
    )


def _open(path: str) -> gdal.Dataset:
    try:
        with gdal_exceptions():
            driver = gdal.IdentifyDriver(path)
            # A plain open hands CMYK and other tagged TIFFs through a conversion to RGBA.
            is_tiff = driver is not None and driver.ShortName in ('GTiff', 'COG')
            raw = is_tiff and not path.startswith('GTIFF_')
            dataset = gdal.Open(f'GTIFF_RAW:{path}' if raw else path)
    except RuntimeError as error:
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
                f'{path}: a container of several rasters; name one of them: '
                f'{", ".join(inside[:8])}{more}'
            )
        raise RasterError(f'{path}: holds no raster bands{_vector_hint(path)}')
    return dataset


def _number(value: float | None, default: float) -> float:
    return default if value is None else float(value)


def _colour_table(band: gdal.Band) -> tuple[tuple[int, int, int], ...]:
    table = band.GetColorTable()
    if table is None:
        return ()
    entries = (table.GetColorEntry(i) for i in range(table.GetCount()))
    return tuple((red, green, blue) for red, green, blue, *_ in entries)


def _sensor_text(dataset: gdal.Dataset, path: str) -> str:
    """Return what may name the sensor: the file's name, and its metadata on where it is from."""
    items = {**dataset.GetMetadata(), **(dataset.GetMetadata('IMAGERY') or {})}
    words = ('spacecraft', 'satellite', 'platform', 'mission', 'product', 'sensor')
    described = [str(v) for k, v in items.items() if any(word in k.lower() for word in words)]
    return ' '.join((Path(path).name, *described))


def _numpy_type(band: gdal.Band, path: str) -> str:
    code = gdal_array.GDALTypeCodeToNumericTypeCode(band.DataType)
    name = gdal.GetDataTypeName(band.DataType)
    if code is None:
        raise RasterError(f'{path}: sample type {name} is not known')
    if np.dtype(code).kind == 'c':
        raise RasterError(
            f'{path}: complex samples ({name}): write amplitude, or real and imaginary part, as '
            'bands of their own'
        )
    return np.dtype(code).name
