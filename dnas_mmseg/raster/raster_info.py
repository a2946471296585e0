"""Metadata of rasters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np

from dnas_mmseg.bands import ALPHA, described_bands

from ._gdal import RasterError, gdal, gdal_array
from .georeference import GeoReference

MAP_OF, MAP_SOURCE, MAP_WEIGHTS = 'dnas_map_of', 'dnas_map_source', 'dnas_map_weights'
"""Metadata items of a map: name and path of its scene, checksum of the weights."""

_COLOURS = {'Red': 'red', 'Green': 'green', 'Blue': 'blue', 'NIR': 'nir', 'Alpha': ALPHA}


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
        map_source: Absolute path of the file of this scene, if it is stored.
        map_weights: Checksum of the weights of the network that predicted it, if it is stored.
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
    map_source: str = ''
    map_weights: str = ''
    class_names: tuple[str, ...] = ()
    acquired: str = ''

    @classmethod
    def read(cls, dataset: gdal.Dataset, path: str) -> RasterInfo:
        """Read the metadata of an open dataset.

        Raises:
            RasterError: A sample type is unsupported.
        """
        bands = [dataset.GetRasterBand(i + 1) for i in range(dataset.RasterCount)]
        return cls(
            path=path,
            height=dataset.RasterYSize,
            width=dataset.RasterXSize,
            dtypes=tuple(_numpy_type(band, path) for band in bands),
            descriptions=described_bands(
                [band.GetDescription() for band in bands], _sensor_text(dataset, path)
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
            map_source=dataset.GetMetadataItem(MAP_SOURCE) or '',
            map_weights=dataset.GetMetadataItem(MAP_WEIGHTS) or '',
            class_names=_class_names(dataset),
            acquired=dataset.GetMetadataItem('ACQUISITIONDATETIME', 'IMAGERY') or '',
        )

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
