"""PlanetScope products: a folder or archive with an image of four or eight bands and UDM2."""

from __future__ import annotations

import re

from ._gdal import RasterError
from .reading import Raster
from .scene_files import BandSource, FileTree, MultiFileScene, QualityBand, one_product

_BANDS = {
    4: ('blue', 'green', 'red', 'nir'),
    8: ('coastal', 'blue', 'green_i', 'green', 'yellow', 'red', 'rededge', 'nir'),
}
"""Bands of the products. Source: Planet, PSScene item type."""

_IMAGE = re.compile(
    r'(?:.*/)?(?P<scene>[^/]+?)(?:_3B|_BGRN)?_(?:AnalyticMS(?P<sr>_SR)?|(?P<only_sr>SR))'
    r'(?P<rest>(?:_\w+)?)\.tiff?',
    re.I,
)
_UDM2 = re.compile(r'(?:.*/)?(?P<scene>[^/]+?)(?:_3B|_BGRN)?_udm2(?:_\w+)?\.tiff?', re.I)
_SCENE = re.compile(r'(\d{4})(\d\d)(\d\d)_(\d\d)(\d\d)(\d\d)_\w+')
_SR_SCALE = 1e-4
"""Scale of surface reflectance. Source: Planet, surface reflectance product."""


def read_planetscope(tree: FileTree) -> MultiFileScene | None:
    """Return the scene of a PlanetScope product; None without its image.

    The quality band is the first band of UDM2, ``clear``: 1 where a pixel is clear, otherwise 0.

    Args:
        tree: Folder or archive with ``*_AnalyticMS*.tif`` or ``*_SR*.tif``. ``*_SR*.tif`` must have
            Planet's scene identifier, or a UDM2 file, since other products have such names, too.

    Raises:
        RasterError: There are several images, or their bands are not those of PlanetScope.
    """
    masks = {m['scene']: tree.path(m[0]) for m in map(_UDM2.fullmatch, tree.files) if m}
    images = [
        match
        for match in map(_IMAGE.fullmatch, tree.files)
        if match
        and 'udm' not in match['rest'].lower()
        and (match['only_sr'] is None or match['scene'] in masks or _SCENE.match(match['scene']))
    ]
    if not images:
        return None
    image = one_product(tree, (match[0] for match in images))
    match = next(match for match in images if match[0] == image)
    path, scene = tree.path(image), match['scene']
    with Raster(path) as raster:
        info = raster.info
    # GDAL tags the fourth of four bands as alpha by default; here it is near infrared.
    names = _BANDS.get(info.bands) or _BANDS.get(len(info.data_bands))
    if names is None:
        raise RasterError(
            f'{path}: {info.bands} bands, expected the 4 or 8 bands of PlanetScope; set the file '
            'itself, with its band names (--bands)'
        )
    stored = info.descriptions[: len(names)]
    wrong = [i for i, name in enumerate(stored) if name in names and name != names[i]]
    if wrong:
        raise RasterError(
            f'{path}: band {wrong[0] + 1} is described as {stored[wrong[0]]}, expected '
            f'{names[wrong[0]]}; set the file itself, whose band names then apply'
        )
    scale: tuple[float | None, float | None] = (None, None)
    if (match['sr'] or match['only_sr']) and set(info.scaling) == {(1.0, 0.0)}:
        scale = (_SR_SCALE, 0.0)
    time = _SCENE.match(scene)
    udm2 = masks.get(scene)
    return MultiFileScene(
        name=scene,
        source=tree.source,
        product=f'PlanetScope {len(names)} bands',
        bands={name: BandSource(path, number, *scale) for number, name in enumerate(names, 1)},
        nodata=0 if set(info.nodata) == {None} else None,
        quality=None if udm2 is None else QualityBand('UDM2 clear', BandSource(udm2)),
        acquired='{}-{}-{} {}:{}:{}'.format(*time.groups()) if time else '',
    )
