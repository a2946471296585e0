"""Bands of files on the grid of a scene, and the virtual rasters (VRT) that contain them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from dnas_mmseg.files import write_text

from ._gdal import RasterError, gdal, gdal_array, gdal_exceptions
from .georeference import GeoReference
from .raster_info import RasterInfo
from .scene_files import BandSource

SCENE_OF = 'dnas_scene_of'
"""Metadata item of a VRT with the path or pattern of its scene."""

_SHIFT = 0.5
"""Largest gap at the edge of a band, in pixels of the scene: GDAL fills it from the edge."""


@dataclass(frozen=True)
class Layer:
    """Band of a file, and its rectangle on the grid of the scene (column, row, width, height)."""

    source: BandSource
    info: RasterInfo
    place: tuple[float, float, float, float]

    @property
    def is_resampled(self) -> bool:
        """Whether the pixels differ from those of the scene."""
        return self.place != (0.0, 0.0, float(self.info.width), float(self.info.height))

    @property
    def declared_nodata(self) -> float | None:
        """Nodata value of the band in its file."""
        return self.info.nodata[self.source.band - 1]

    def xml(self, path: str, band: int | str, resampling: str = 'nearest') -> str:
        """Return the source element of a VRT band."""
        element = ElementTree.Element('SimpleSource')
        if resampling != 'nearest':
            element.set('resampling', resampling)
        name = ElementTree.SubElement(element, 'SourceFilename', relativeToVRT='0')
        name.text = path
        ElementTree.SubElement(element, 'SourceBand').text = str(band)
        names = ('xOff', 'yOff', 'xSize', 'ySize')
        whole = (0, 0, self.info.width, self.info.height)
        for tag, rectangle in (('SrcRect', whole), ('DstRect', self.place)):
            values = {n: f'{v:.10g}' for n, v in zip(names, rectangle, strict=True)}
            ElementTree.SubElement(element, tag, values)
        return ElementTree.tostring(element, encoding='unicode')

    @property
    def scaling(self) -> tuple[float, float]:
        """Scale and offset of the samples."""
        scale, offset = self.info.scaling[self.source.band - 1]
        source = self.source
        return (
            scale if source.scale is None else source.scale,
            offset if source.offset is None else source.offset,
        )


def place_layer(source: BandSource, info: RasterInfo, finest: RasterInfo) -> Layer:
    """Return a band with its rectangle on the grid of the finest file.

    Raises:
        RasterError: CRS, orientation or extent differ. A coarser band may extend beyond the scene
            by one of its pixels, as that of Landsat does around the panchromatic band.
    """
    mine, own = finest.georeference, info.georeference
    remedy = 'expected files of one grid; reproject it, e.g. with gdalwarp'
    difference = mine.describe_crs_difference(own)
    if difference:
        raise RasterError(f'{info.path}: {difference} as {finest.path}; {remedy}')
    if mine.transform is None or own.transform is None:
        if (mine.transform is None) != (own.transform is None) or info.shape != finest.shape:
            raise RasterError(
                f'{info.path}: {info.height} x {info.width} pixels without the georeference that '
                f'relates them to the {finest.height} x {finest.width} of {finest.path}; {remedy}'
            )
        return Layer(source, info, (0.0, 0.0, float(info.width), float(info.height)))
    inverse = gdal.InvGeoTransform(list(mine.transform))
    corners = [
        gdal.ApplyGeoTransform(inverse, *gdal.ApplyGeoTransform(list(own.transform), x, y))
        for x, y in ((0, 0), (info.width, info.height), (0, info.height), (info.width, 0))
    ]
    (left, top), (right, bottom), (x2, y2), (x3, y3) = corners
    if max(abs(x2 - left), abs(y2 - bottom), abs(x3 - right), abs(y3 - top)) > 0.01 or not (
        right > left and bottom > top
    ):
        raise RasterError(f'{info.path}: rotated or mirrored, unlike {finest.path}; {remedy}')
    step = (right - left) / info.width, (bottom - top) / info.height
    gap = max(left, top, finest.width - right, finest.height - bottom)
    excess = (
        max(-left, right - finest.width) - step[0], max(-top, bottom - finest.height) - step[1]
    )  # fmt: skip
    if gap > _SHIFT + 1e-6 or max(excess) > 1e-6:
        raise RasterError(
            f'{info.path}: it covers columns {left:.1f} to {right:.1f} and rows {top:.1f} to '
            f'{bottom:.1f} of the {finest.width} columns and {finest.height} rows of '
            f'{finest.path}; {remedy}'
        )
    column, row, width, height = (
        round(value, 6) + 0.0 for value in (left, top, right - left, bottom - top)
    )
    return Layer(source, info, (column, row, width, height))


def new_vrt(shape: tuple[int, int], georeference: GeoReference) -> Any:
    """Return a VRT dataset in memory without bands."""
    dataset = gdal.GetDriverByName('VRT').Create('', shape[1], shape[0], 0)
    georeference.write(dataset)
    return dataset


def add_band(dataset: Any, layer: Layer, xml: str, kind: int | None = None) -> Any:
    """Add a band with a source to a VRT, and return it.

    Args:
        dataset: The VRT.
        layer: The band in its file.
        xml: Element of the source.
        kind: GDAL type of the samples; defaults to that of the file.
    """
    if kind is None:
        name = layer.info.dtypes[layer.source.band - 1]
        kind = gdal_array.NumericTypeCodeToGDALTypeCode(np.dtype(name).type)
    with gdal_exceptions():
        dataset.AddBand(kind)
        band = dataset.GetRasterBand(dataset.RasterCount)
        band.SetMetadataItem('source_0', xml, 'new_vrt_sources')
    return band


def write_vrt(path: Path, dataset: Any) -> None:
    """Write a VRT, unless the file has this content.

    Raises:
        RasterError: It cannot be written.
    """
    text = dataset.GetMetadata('xml:VRT')[0]
    if path.is_file() and path.read_text(encoding='utf-8') == text:
        return  # tiles cut from it stay valid
    try:
        write_text(path, text)
    except OSError as error:
        raise RasterError(f'{path}: cannot be written ({error})') from error


def refuse_foreign_vrt(path: Path) -> None:
    """Raise an error if an existing VRT is not that of a scene of several files."""
    if path.is_file() and SCENE_OF not in path.read_text(encoding='utf-8', errors='replace'):
        raise foreign_vrt_error(path)


def foreign_vrt_error(path: Path) -> RasterError:
    """Return the error for a file that would be overwritten."""
    return RasterError(
        f'{path} exists and is not the file of a scene of several files; choose another folder, or '
        'move the file'
    )
