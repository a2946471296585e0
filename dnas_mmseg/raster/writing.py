"""Atomic writing of rasters, with tags that make no reader convert the samples."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dnas_mmseg.classes import ClassScheme
from dnas_mmseg.files import atomic_path

from ._gdal import RasterError, gdal, gdal_exceptions
from .georeference import GeoReference

GDAL_TYPES = {
    'uint8': gdal.GDT_Byte,
    'uint16': gdal.GDT_UInt16,
    'int16': gdal.GDT_Int16,
    'float32': gdal.GDT_Float32,
}
_TIFF_OPTIONS = (
    'PHOTOMETRIC=MINISBLACK',
    'ALPHA=UNSPECIFIED',
    'COMPRESS=DEFLATE',
    'BIGTIFF=IF_SAFER',
)


def write_raster(
    path: str | os.PathLike,
    samples: np.ndarray,
    *,
    names: Sequence[str] = (),
    nodata: float | None = None,
    valid: np.ndarray | None = None,
    georeference: GeoReference = GeoReference(),  # noqa: B008  immutable
    palette: Sequence[Sequence[int]] | None = None,
    options: Sequence[str] = _TIFF_OPTIONS,
) -> None:
    """Write a GeoTIFF, or a PNG if the suffix is ``.png``.

    Args:
        path: Path of the file; written atomically.
        samples: Samples, (bands, height, width) or (height, width); uint8, uint16, int16 or
            float32.
        names: Band descriptions (GeoTIFF).
        nodata: Nodata value of all bands.
        valid: Validity mask, boolean (height, width), stored as an internal mask (GeoTIFF).
        georeference: Georeference of the raster (GeoTIFF).
        palette: RGB colours of the values 0, 1, ...; for one band of uint8.
        options: GDAL creation options (GeoTIFF). By default no band is tagged as colour or alpha.

    Raises:
        RasterError: The sample type is unsupported, or the file cannot be written.

    Example:
        >>> write_raster('a.tif', np.ones((2, 8, 8), np.uint16), names=('red', 'nir'), nodata=0)
    """
    samples = samples if samples.ndim == 3 else samples[None]
    if samples.dtype.name not in GDAL_TYPES:
        raise RasterError(
            f'{path}: cannot write {samples.dtype}; use one of {", ".join(GDAL_TYPES)}'
        )
    try:
        with atomic_path(path) as temporary, gdal_exceptions():
            gdal.ErrorReset()
            if Path(path).suffix.lower() == '.png':
                _write_png(temporary, samples, nodata, palette)
            else:
                _write_tiff(
                    temporary, samples, nodata, palette, names, valid, georeference, options
                )
            # Closing flushes the file; GDAL reports a full disk only as the last error.
            if gdal.GetLastErrorType() >= gdal.CE_Failure:
                raise RuntimeError(gdal.GetLastErrorMsg())
    except (RuntimeError, OSError) as error:
        raise RasterError(f'{path}: cannot be written ({error})') from error


def _write_tiff(
    path: Path, samples, nodata, palette, names, valid, georeference: GeoReference, options
) -> None:
    """Write the dataset and close it."""
    dataset = _create('GTiff', str(path), samples, options)
    describe_bands(dataset, nodata, palette)
    for i, name in enumerate(names):
        dataset.GetRasterBand(i + 1).SetDescription(name)
    georeference.write(dataset)
    if valid is not None:
        before = gdal.GetConfigOption('GDAL_TIFF_INTERNAL_MASK')
        gdal.SetConfigOption('GDAL_TIFF_INTERNAL_MASK', 'YES')
        dataset.CreateMaskBand(gdal.GMF_PER_DATASET)
        gdal.SetConfigOption('GDAL_TIFF_INTERNAL_MASK', before)
        mask = dataset.GetRasterBand(1).GetMaskBand()
        mask.WriteArray(np.where(valid, 255, 0).astype(np.uint8))
    _write_samples(dataset, samples)


def _write_png(path: Path, samples, nodata, palette) -> None:
    """Write a PNG as a copy of a dataset in memory, since its driver cannot create files."""
    memory = _create('MEM', '', samples, ())
    describe_bands(memory, nodata, palette)
    _write_samples(memory, samples)
    gdal.GetDriverByName('PNG').CreateCopy(str(path), memory)
    # The sidecar would repeat the georeference and nodata of the label's image.
    Path(f'{path}.aux.xml').unlink(missing_ok=True)


def _create(driver: str, name: str, samples: np.ndarray, options: Sequence[str]):
    bands, height, width = samples.shape
    kind = GDAL_TYPES[samples.dtype.name]
    return gdal.GetDriverByName(driver).Create(
        name, width, height, bands, kind, options=list(options)
    )


def describe_bands(dataset, nodata: float | None, palette) -> None:
    """Set the nodata value of all bands and the colour table of the first."""
    for i in range(dataset.RasterCount):
        if nodata is not None:
            dataset.GetRasterBand(i + 1).SetNoDataValue(float(nodata))
    if palette is not None:
        table = gdal.ColorTable()
        # PNG rejects samples beyond its palette: pad it with black.
        for value in range(256):
            colour = palette[value] if value < len(palette) else (0, 0, 0)
            table.SetColorEntry(value, (*map(int, colour), 255))
        dataset.GetRasterBand(1).SetColorTable(table)


def describe_classes(dataset, classes: ClassScheme) -> None:
    """Set names and colours of the values 0, 1, ... of the first band for GIS programs.

    They are stored as category names and raster attribute table (in the ``.aux.xml`` sidecar of a
    TIFF), and as metadata items ``class_<value>`` for programs that read no sidecar.
    """
    table = gdal.RasterAttributeTable()
    table.SetTableType(gdal.GRTT_THEMATIC)
    columns = (
        ('Value', gdal.GFT_Integer, gdal.GFU_MinMax),
        ('Class', gdal.GFT_String, gdal.GFU_Name),
        ('Red', gdal.GFT_Integer, gdal.GFU_Red),
        ('Green', gdal.GFT_Integer, gdal.GFU_Green),
        ('Blue', gdal.GFT_Integer, gdal.GFU_Blue),
    )
    for column in columns:
        table.CreateColumn(*column)
    for value, (name, colour) in enumerate(classes):
        table.SetValueAsInt(value, 0, value)
        table.SetValueAsString(value, 1, name)
        for i, part in enumerate(colour):
            table.SetValueAsInt(value, 2 + i, int(part))
    band = dataset.GetRasterBand(1)
    band.SetCategoryNames(list(classes.names))
    band.SetDefaultRAT(table)
    dataset.SetMetadata({f'class_{i}': name for i, name in enumerate(classes.names)})


def _write_samples(dataset, samples: np.ndarray) -> None:
    for i, band in enumerate(samples):
        dataset.GetRasterBand(i + 1).WriteArray(np.ascontiguousarray(band))
    dataset.FlushCache()
