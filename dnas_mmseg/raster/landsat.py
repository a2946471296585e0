"""Landsat Collection 2 products of levels 1 and 2: folders and tar archives."""

from __future__ import annotations

import re

from dnas_mmseg.bands import band_name

from ._gdal import RasterError
from .scene_files import BandSource, FileTree, MultiFileScene, QualityBand, one_product

_PRODUCT = r'(?:.*/)?(L[COTE]0[4-9]_L[12]\w{2}_\d{6}_\d{8}_\d{8}_02_\w\w)'
_IMAGE = re.compile(rf'{_PRODUCT}_(?:(SR|ST)_)?(B\d+(?:_VCID_\d)?)\.TIF', re.I)

_LEVEL_2 = {'SR': (0.0000275, -0.2), 'ST': (0.00341802, 149.0)}
"""Scale and offset of surface reflectance and of surface temperature in kelvin.

Source: USGS, Landsat Collection 2 Level-2 science products.
"""

_RESCALING = {
    'SR': ('LEVEL2_SURFACE_REFLECTANCE_PARAMETERS', 'REFLECTANCE_{}_BAND_{}'),
    'ST': ('LEVEL2_SURFACE_TEMPERATURE_PARAMETERS', 'TEMPERATURE_{}_BAND_ST_{}'),
    '': ('LEVEL1_RADIOMETRIC_RESCALING', 'REFLECTANCE_{}_BAND_{}'),
}
"""Group and keys in MTL.txt, where ``REFLECTANCE_MULT_BAND_4`` occurs once per level."""


def read_landsat(tree: FileTree) -> MultiFileScene | None:
    """Return the scene of a Landsat Collection 2 product; None without its images.

    Scale and offset are those of ``*_MTL.txt``. Without the file, level 2 has the constants of
    Collection 2, and level 1 has none. Thermal bands of level 1 have none. Reflectance of level 1
    is at the top of the atmosphere, without correction for the sun elevation.

    Args:
        tree: Folder or archive of one product. Multispectral scanner products are not supported,
            since their band numbers differ.

    Raises:
        RasterError: There are several products, or ``*_MTL.txt`` contains an invalid number.
    """
    found = [(name, match) for name in tree.files if (match := _IMAGE.fullmatch(name))]
    if not found:
        return None
    product = one_product(tree, (match[1] for _, match in found))
    files = {name.rpartition('/')[2].upper(): name for name in tree.files}
    sensor = 'Landsat 8-9' if product[3] in '89' else 'Landsat 4-7'
    metadata = files.get(f'{product}_MTL.TXT'.upper())
    values = {} if metadata is None else _parse(tree.text(metadata))
    bands: dict[str, BandSource] = {}
    for name, match in sorted(found, key=lambda item: _order(item[1][3])):
        level, number = (match[2] or '').upper(), match[3].upper()
        scale, offset = _LEVEL_2.get(level, (None, None))
        group, key = _RESCALING[level]
        digits = number if level == 'ST' else number[1:]
        written = [values.get((group, key.format(word, digits))) for word in ('MULT', 'ADD')]
        if all(written):
            try:
                scale, offset = (float(text or '') for text in written)
            except ValueError:
                raise RasterError(
                    f'{tree.path(str(metadata))}: {key.format("MULT", digits)} = {written[0]}, '
                    f'{key.format("ADD", digits)} = {written[1]}: expected numbers; download the '
                    'product again'
                ) from None
        bands[band_name(number, sensor)] = BandSource(tree.path(name), scale=scale, offset=offset)
    quality = files.get(f'{product}_QA_PIXEL.TIF'.upper())
    date = values.get(('IMAGE_ATTRIBUTES', 'DATE_ACQUIRED'), '')
    time = values.get(('IMAGE_ATTRIBUTES', 'SCENE_CENTER_TIME'), '')
    return MultiFileScene(
        name=product,
        source=tree.source,
        product=f'Landsat {product[3]} {product[5:9]}',
        bands=bands,
        sensor=sensor,
        nodata=0,
        quality=None
        if quality is None
        else QualityBand('QA_PIXEL', BandSource(tree.path(quality)), has_flags=True),
        acquired=f'{date} {time[:8]}' if date and time else '',
    )


def _order(number: str) -> tuple[int, str]:
    return int(number[1:].partition('_')[0]), number


def _parse(text: str) -> dict[tuple[str, str], str]:
    """Return the values of an MTL file by group and key."""
    groups, values = [''], {}
    for line in text.splitlines():
        key, _, value = (part.strip() for part in line.partition('='))
        if key == 'GROUP':
            groups.append(value)
        elif key == 'END_GROUP' and len(groups) > 1:
            groups.pop()
        else:
            values[groups[-1], key] = value.strip('"')
    return values
