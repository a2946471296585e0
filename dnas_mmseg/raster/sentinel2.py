"""Sentinel-2 products: SAFE folders of level 1C and 2A."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from xml.etree import ElementTree

from dnas_mmseg.bands import band_name

from ._gdal import RasterError
from .scene_files import BandSource, FileTree, MultiFileScene, QualityBand, one_product

_SENSOR = 'Sentinel-2'
_BANDS = ('B1', 'B2', 'B3', 'B4', 'B5', 'B6', 'B7', 'B8', 'B8A', 'B9', 'B10', 'B11', 'B12')
"""Bands in the order of ``band_id``."""
_METADATA = re.compile(r'(?:(.+)/)?MTD_MSI(L1C|L2A)\.xml')
_IMAGE = re.compile(r'(GRANULE/[^/]+)/IMG_DATA/(?:R\d0m/)?[^/]+_(B\d[\dA]|SCL)(?:_(\d0)m)?\.jp2')


def read_sentinel2(tree: FileTree) -> MultiFileScene | None:
    """Return the scene of a SAFE folder; None if it is another folder or archive.

    A band that a level-2A product has at several resolutions is read at the finest one. Scale and
    offset convert samples to reflectance: ``(sample + add_offset) / quantification_value``.

    Args:
        tree: A SAFE folder, or an archive of one.

    Raises:
        RasterError: Metadata or images are missing, or the metadata cannot be parsed.
    """
    found = [match for match in map(_METADATA.fullmatch, tree.files) if match]
    if not found:
        safe = tree.root.upper().endswith('.SAFE')
        if safe or any('.SAFE/' in name for name in tree.files):
            raise RasterError(
                f'{tree.source}: a SAFE folder without MTD_MSIL1C.xml or MTD_MSIL2A.xml; expected '
                'a complete product of level 1C or 2A since 2016; download it again'
            )
        return None
    metadata = one_product(tree, (match[0] for match in found))
    match = next(match for match in found if match[0] == metadata)
    folder, level = match[1], match[2]
    images: dict[str, tuple[int, str]] = {}
    granules = set()
    for name in tree.files:
        inside = name if folder is None else name.removeprefix(f'{folder}/')
        image = _IMAGE.fullmatch(inside)
        if image:
            granules.add(image[1])
            candidate = int(image[3] or 0), tree.path(name)
            images[image[2]] = min(images.get(image[2], candidate), candidate)
    quality = images.pop('SCL', None)
    if not images:
        raise RasterError(
            f'{tree.source}: no images in GRANULE/*/IMG_DATA, expected *_B02.jp2 and the like; '
            'download the product again'
        )
    one_product(tree, granules)
    document = _parse(tree, metadata)
    quantification, offsets = _radiometry(document, tree.path(metadata))
    numbers = {f'B{int(image[1:])}' if image != 'B8A' else image: image for image in images}
    bands = {
        band_name(number, _SENSOR): BandSource(
            images[numbers[number]][1],
            scale=1 / quantification,
            offset=offsets.get(number, 0.0) / quantification,
        )
        for number in _BANDS
        if number in numbers
    }
    start = document.findtext('.//PRODUCT_START_TIME') or ''
    return MultiFileScene(
        name=tree.stem if folder is None else PurePosixPath(folder).name.removesuffix('.SAFE'),
        source=tree.source,
        product=f'{_SENSOR} {level}',
        bands=bands,
        sensor=_SENSOR,
        nodata=0,
        quality=None if quality is None else QualityBand('SCL', BandSource(quality[1])),
        acquired=start[:19].replace('T', ' '),
    )


def _parse(tree: FileTree, name: str) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(tree.text(name))
    except ElementTree.ParseError as error:
        raise RasterError(
            f'{tree.path(name)}: not valid XML ({error}); download the product again'
        ) from error


def _radiometry(document: ElementTree.Element, path: str) -> tuple[float, dict[str, float]]:
    """Return the quantification value and the offset of each band, such as ``'B4'``.

    Products before processing baseline 04.00 have no offsets.
    """
    try:
        quantification = next(
            float(element.text or '')
            for tag in ('BOA_QUANTIFICATION_VALUE', 'QUANTIFICATION_VALUE')
            for element in document.iter(tag)
        )
        order = {
            int(element.attrib['bandId']): element.attrib['physicalBand']
            for element in document.iter('Spectral_Information')
        } or dict(enumerate(_BANDS))
        offsets = {
            order[int(element.attrib['band_id'])]: float(element.text or '')
            for tag in ('BOA_ADD_OFFSET', 'RADIO_ADD_OFFSET')
            for element in document.iter(tag)
        }
    except (StopIteration, KeyError, ValueError) as error:
        raise RasterError(
            f'{path}: no valid quantification value and offsets '
            f'({type(error).__name__} {error}); download the product again'
        ) from error
    if quantification <= 0:
        raise RasterError(
            f'{path}: quantification value {quantification:g}, expected a positive number; '
            'download the product again'
        )
    return quantification, offsets
