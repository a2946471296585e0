"""Detection of scenes of several files, and the files to open in their place."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from glob import glob, has_magic
from pathlib import Path
from typing import NamedTuple

from ._gdal import RasterError, gdal
from .band_pattern import is_band_pattern, pattern_scenes
from .landsat import read_landsat
from .names import RASTER_SUFFIXES, distinguish_stems, is_virtual, raster_stem
from .planetscope import read_planetscope
from .scene_files import FileTree, MultiFileScene
from .scene_vrt import SceneStack
from .sentinel2 import read_sentinel2

_SIDECARS = ('.aux.xml', '.ovr', '.msk')
"""Endings of files that belong to a raster."""

_PRODUCT_FILE = re.compile(r'_(udm2?|3B_\w+|QA_PIXEL|MTL|B\d\d?)(_\w+)?\.', re.IGNORECASE)
"""Names of files of products, which are no scenes of their own."""


class ResolvedScene(NamedTuple):
    """Scene to open.

    Attributes:
        path: Path of the raster or VRT.
        source: Path or pattern as set by the user; of a pattern with wildcards, that of the scene.
        notes: What was found, one line each.
    """

    path: str
    source: str
    notes: tuple[str, ...] = ()


def detect_scene(path: str | os.PathLike) -> MultiFileScene | None:
    """Return the scene of a product folder or archive.

    Supported are Sentinel-2 SAFE folders (L1C, L2A) and their ``.zip``, Landsat Collection 2
    folders and their ``.tar`` (levels 1 and 2), and PlanetScope folders.

    Args:
        path: Path, or a GDAL path (``/vsi...``) of a folder.

    Returns:
        None if the path is a file, or a folder or archive without such a product.

    Raises:
        RasterError: The product is incomplete or damaged, or there are several.

    Example:
        >>> scene = detect_scene('S2B_MSIL2A_20230615T103629_...SAFE')  # doctest: +SKIP
        >>> scene.product, list(scene.bands)[:4]  # doctest: +SKIP
        ('Sentinel-2 L2A', ['coastal', 'blue', 'green', 'red'])
    """
    text = os.fspath(path)
    if is_virtual(text) and not text.startswith('/vsi'):
        return None
    tree = FileTree.read(text)
    if tree is None:
        return None
    readers = (read_sentinel2, read_landsat, read_planetscope)
    return next((scene for read in readers if (scene := read(tree)) is not None), None)


def find_scenes_of(name: str | os.PathLike) -> list[MultiFileScene | str]:
    """Return the scenes of a path: those of a product, of a pattern, of a folder, or itself.

    A folder without a product stands for the rasters in it.

    Raises:
        RasterError: A folder contains no raster, a pattern matches nothing, or see
            :func:`detect_scene` and :func:`pattern_scenes`.
    """
    text = os.fspath(name)
    if is_band_pattern(text):
        return list(pattern_scenes(text))
    if has_magic(text) and not is_virtual(text) and not os.path.exists(text):
        matches = sorted(m for m in glob(text, recursive=True) if not m.lower().endswith(_SIDECARS))
        if not matches:
            raise RasterError(f'{text}: no file matches this pattern')
        return [scene for match in matches for scene in find_scenes_of(match)]
    scene = detect_scene(text)
    if scene is not None:
        return [scene]
    if not os.path.isdir(text) or gdal.IdentifyDriver(text) is not None:
        return [text]
    files = sorted(
        path
        for path in Path(text).iterdir()
        if path.suffix.lower() in RASTER_SUFFIXES and not path.name.startswith('.')
    )
    if not files or any(_PRODUCT_FILE.search(path.name) for path in files):
        raise RasterError(
            f'{text}: a folder without scenes or a supported product; expected rasters, a '
            'Sentinel-2 SAFE folder, the images of one Landsat Collection 2 or PlanetScope '
            'product, or a pattern with {band}'
        )
    return [str(file) for file in files]


def resolve_scenes(
    names: Sequence[str | os.PathLike],
    folder: str | os.PathLike,
    *,
    bands: Sequence[str] | None = None,
    resampling: str = 'bilinear',
    mask_values: Iterable[int | str] = (),
) -> list[ResolvedScene]:
    """Return the rasters to open, with a VRT for each scene of several files.

    Args:
        names: Paths of rasters, products and archives (:func:`detect_scene`), and patterns
            (:func:`pattern_scenes`). Rasters are returned unchanged.
        folder: Folder of the VRTs, named like their scenes.
        bands: Names of the bands of the VRTs, in order; defaults to all.
        resampling: ``'nearest'``, ``'bilinear'`` or ``'cubic'``, for coarser bands.
        mask_values: Values and bits (``'bit3'``) of the quality band that mark invalid pixels.

    Raises:
        RasterError: A product or pattern is invalid, a band is missing, or mask values are set for
            a raster without a quality band.

    Example:
        >>> from dnas_mmseg.raster import write_raster
        >>> import numpy as np
        >>> for band in ('red', 'nir'):
        ...     write_raster(f's1_{band}.tif', np.ones((1, 8, 8), np.uint8))
        >>> (found,) = resolve_scenes(['s1_{band}.tif'], 'scenes', bands=('nir', 'red'))
        >>> found.notes
        ('s1_{band}.tif: one file per band, bands nir, red',)
    """
    words = list(mask_values)
    found = [scene for name in names for scene in find_scenes_of(name)]
    scenes = {scene.source: scene for scene in found if isinstance(scene, MultiFileScene)}
    unique = distinguish_stems({source: scene.name for source, scene in scenes.items()})
    return [
        resolve_scene(
            scene,
            folder,
            name='' if isinstance(scene, str) else unique[scene.source],
            bands=bands,
            resampling=resampling,
            mask_values=words,
        )
        for scene in found
    ]


def resolve_scene(
    scene: MultiFileScene | str,
    folder: str | os.PathLike,
    *,
    name: str = '',
    bands: Sequence[str] | None = None,
    resampling: str = 'bilinear',
    mask_values: Iterable[int | str] = (),
) -> ResolvedScene:
    """Return the raster to open for a scene of :func:`find_scenes_of`.

    Args:
        scene: Scene of several files, or the path of a raster.
        name: Name of the VRT, if that of the scene is not unique in ``folder``.
        folder, bands, resampling, mask_values: See :func:`resolve_scenes`.

    Raises:
        RasterError: See :func:`resolve_scenes`.
    """
    words = list(mask_values)
    if isinstance(scene, str):
        if words:
            raise RasterError(
                f'{scene}: mask values are set ({", ".join(map(str, words))}), but a single raster '
                'has no quality band; omit them, or set the product'
            )
        return ResolvedScene(scene, scene)
    scene = replace(scene, name=name or scene.name)
    stack = SceneStack.plan(scene, bands=bands, resampling=resampling, mask_values=words)
    return ResolvedScene(str(stack.write(folder)), scene.source, (stack.describe(),))


def scene_stem(scene: MultiFileScene | str) -> str:
    """Return the stem for output files of a scene of :func:`find_scenes_of`."""
    return raster_stem(scene) if isinstance(scene, str) else scene.name
