"""Virtual mosaics: VRTs that refer to class maps without copying them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from dnas_mmseg.classes import NO_CLASS, ClassScheme
from dnas_mmseg.files import write_text

from ._gdal import RasterError, gdal, gdal_exceptions
from .mosaic_grid import ClassMapFile, MosaicGrid
from .names import distinguish_stems, is_virtual, raster_stem
from .raster_info import MAP_OF
from .warping import warp_options
from .windows import Window
from .writing import describe_bands, describe_classes


def write_mosaic_vrt(
    path: Path,
    maps: Sequence[ClassMapFile],
    grid: MosaicGrid,
    classes: ClassScheme,
    resampling: str,
    map_of: str,
) -> None:
    """Write a VRT of class maps, with the first one on top.

    Args:
        path: Path of the VRT. Maps on another grid have a VRT each in ``<stem>_vrt``.
        maps: Class maps.
        grid: Grid of the mosaic.
        classes: Names and colours of the classes.
        resampling: Resampling of maps on another grid.
        map_of: Name of the mapped scene, for :attr:`RasterInfo.map_of`.

    Raises:
        RasterError: A file cannot be written.
    """
    stems = distinguish_stems({each.path: raster_stem(each.path) for each in maps})
    try:
        with gdal_exceptions():
            dataset = gdal.GetDriverByName('VRT').Create('', grid.width, grid.height, 1)
            grid.georeference.write(dataset)
            describe_bands(dataset, NO_CLASS, classes.palette)
            describe_classes(dataset, classes)
            dataset.SetMetadataItem(MAP_OF, map_of)
            root = ElementTree.fromstring(dataset.GetMetadata('xml:VRT')[0])
            band = root.find('VRTRasterBand')
            assert band is not None
            for index in reversed(range(len(maps))):  # the last source is on top
                source, box = maps[index].path, grid.box(index)
                if not grid.aligned[index]:
                    source = str(path.with_name(f'{path.stem}_vrt') / f'{stems[source]}.vrt')
                    _write_warped(Path(source), maps[index].path, grid, box, resampling)
                band.append(_source(source, box, path.parent))
            write_text(path, ElementTree.tostring(root, encoding='unicode'))
    except (RuntimeError, OSError) as error:
        raise RasterError(f'{path}: cannot be written ({error})') from error


def _write_warped(path: Path, source: str, grid: MosaicGrid, box: Window, resampling: str) -> None:
    """Write a VRT that reprojects a map to its box in a grid when it is read."""
    place = grid.georeference.moved(box.row_off, box.col_off)
    template = gdal.GetDriverByName('VRT').Create('', box.width, box.height, 1)
    place.write(template)
    x, dx, _, y, _, dy = place.transform or ()
    dataset = gdal.Warp(
        '',
        source,
        format='VRT',
        dstSRS=template.GetSpatialRef(),
        outputBounds=(x, y + box.height * dy, x + box.width * dx, y),
        width=box.width,
        height=box.height,
        **warp_options(resampling),
    )
    root = ElementTree.fromstring(dataset.GetMetadata('xml:VRT')[0])
    name = root.find('GDALWarpOptions/SourceDataset')
    assert name is not None
    _refer(name, source, path.parent)
    write_text(path, ElementTree.tostring(root, encoding='unicode'))


def _source(path: str, box: Window, folder: Path) -> ElementTree.Element:
    """Return the element of a source whose nodata is transparent."""
    element = ElementTree.Element('ComplexSource')
    _refer(ElementTree.SubElement(element, 'SourceFilename'), path, folder)
    ElementTree.SubElement(element, 'SourceBand').text = '1'
    # Sources with known properties are not opened before they are read.
    size = dict(RasterXSize=str(box.width), RasterYSize=str(box.height), DataType='Byte')
    ElementTree.SubElement(element, 'SourceProperties', size)
    for tag, column, row in (('SrcRect', 0, 0), ('DstRect', box.col_off, box.row_off)):
        place = dict(xOff=str(column), yOff=str(row))
        ElementTree.SubElement(
            element, tag, {**place, 'xSize': str(box.width), 'ySize': str(box.height)}
        )
    ElementTree.SubElement(element, 'NODATA').text = str(NO_CLASS)
    return element


def _refer(element: ElementTree.Element, path: str, folder: Path) -> None:
    """Refer to a file by its path relative to the folder of the VRT."""
    relative = not is_virtual(path)
    element.set('relativeToVRT', str(int(relative)))
    element.text = os.path.relpath(path, folder) if relative else path
