"""Synthetic scenes in the distribution format of GID-5, for the demo and for tests.

The five classes overlap in spectrum and texture: farmland differs from meadow mainly by its
furrows, forest from meadow by its roughness.
"""

from __future__ import annotations

import os
from pathlib import Path

import mmcv
import numpy as np

from dnas_mmseg.datasets.gid5 import CLASSES, PALETTE
from dnas_mmseg.datasets.labels import IGNORE
from dnas_mmseg.raster import GeoReference, write_raster

_BUILT_UP, _FARMLAND, _FOREST, _MEADOW, _WATER = range(len(CLASSES))
# Mean reflectance as 8-bit samples, in the order of BANDS (nir, red, green, blue).
_SPECTRA = np.array(
    [
        [112, 128, 122, 118],  # built-up
        [128, 100, 98, 82],  # farmland
        [120, 52, 68, 56],  # forest
        [140, 92, 104, 80],  # meadow
        [34, 44, 58, 70],  # water
    ],
    np.float32,
)
UTM = (
    'PROJCS["WGS 84 / UTM zone 50N",GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,'
    '298.257223563]],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],'
    'PROJECTION["Transverse_Mercator"],PARAMETER["latitude_of_origin",0],'
    'PARAMETER["central_meridian",117],PARAMETER["scale_factor",0.9996],'
    'PARAMETER["false_easting",500000],PARAMETER["false_northing",0],UNIT["metre",1],'
    'AUTHORITY["EPSG","32650"]]'
)
"""Reference system of the scenes, as WKT."""


def make_scene(size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Generate a synthetic landscape.

    Args:
        size: Height and width in pixels.
        seed: Seed of the landscape.

    Returns:
        Samples, uint8 (4, size, size), in the order NIR, red, green, blue; and train ids, uint8
        (size, size), with 255 for unlabelled.

    Example:
        >>> samples, ids = make_scene(size=64, seed=0)
        >>> samples.shape, ids.shape
        ((4, 64, 64), (64, 64))
    """
    rng = np.random.default_rng(seed)
    ids = _land_cover(rng, size)
    samples = _SPECTRA[ids].transpose(2, 0, 1) * (0.85 + 0.3 * _noise(rng, size, 96))
    samples *= 1 + _texture(rng, ids)
    samples += rng.normal(0, 5, samples.shape)
    label = ids.astype(np.uint8)
    label[_noise(rng, size, 64) > 0.93] = IGNORE
    return samples.clip(0, 255).astype(np.uint8), label


def write_scenes(root: str | os.PathLike, count: int, size: int, seed: int = 0) -> None:
    """Write scenes in the layout of the older release of GID-5.

    Images are ``image_NirRGB/<name>.tif`` with four bands, tagged as CMYK like the distributed
    files; labels are ``label_5classes/<name>_label.tif`` with RGB colours. Both are georeferenced.

    Args:
        root: Folder to write to.
        count: Number of scenes.
        size: Height and width in pixels.
        seed: Seed of the first scene; the others follow.
    """
    for i in range(count):
        samples, ids = make_scene(size, seed + i)
        name = f'GF2_PMS1__L1A{i:010d}-MSS1'
        georeference = GeoReference(UTM, transform=(4e5 + i * size * 4, 4.0, 0.0, 4.4e6, 0.0, -4.0))
        colours = np.zeros((IGNORE + 1, 3), np.uint8)
        colours[: len(PALETTE)] = PALETTE
        write_raster(
            Path(root) / 'image_NirRGB' / f'{name}.tif',
            samples,
            georeference=georeference,
            options=('PHOTOMETRIC=CMYK',),
        )
        write_raster(
            Path(root) / 'label_5classes' / f'{name}_label.tif',
            colours[ids].transpose(2, 0, 1),
            georeference=georeference,
            options=('PHOTOMETRIC=RGB', 'COMPRESS=DEFLATE'),
        )


def _land_cover(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return train ids: water in valleys, forest on hills, towns and fields between."""
    height, use = _noise(rng, size, 160), _noise(rng, size, 120)
    ids = np.full((size, size), _MEADOW)
    fields = _blocks(rng, size, 48)
    ids[(use > 0.45) & (fields > 0.25)] = _FARMLAND
    ids[(use < 0.3) & (_blocks(rng, size, 32) > 0.3)] = _BUILT_UP
    ids[height > 0.62] = _FOREST
    ids[height < 0.24] = _WATER
    return ids


def _texture(rng: np.random.Generator, ids: np.ndarray) -> np.ndarray:
    """Return relative brightness, (size, size): roofs, furrows and crowns; 0 for other classes."""
    size = len(ids)
    row, column = np.mgrid[:size, :size]
    direction = _blocks(rng, size, 48) * np.pi
    furrows = np.sin((row * np.sin(direction) + column * np.cos(direction)) * 1.1)
    roofs = _blocks(rng, size, 6) - 0.5
    crowns = mmcv.imresize(rng.normal(0, 1, (size // 2 + 1,) * 2).astype(np.float32), (size, size))
    amplitude = {_BUILT_UP: 0.9 * roofs, _FARMLAND: 0.16 * furrows, _FOREST: 0.22 * crowns}
    return sum((ids == kind) * texture for kind, texture in amplitude.items())


def _noise(rng: np.random.Generator, size: int, grain: int) -> np.ndarray:
    """Return smooth noise, (size, size), uniform in 0 .. 1, of wavelength ``grain`` pixels."""
    total = np.zeros((size, size), np.float32)
    for octave in range(4):
        cells = max(2, size * 2**octave // grain + 2)
        coarse = rng.normal(0, 0.5**octave, (cells, cells)).astype(np.float32)
        total += mmcv.imresize(coarse, (size, size), interpolation='bicubic')
    ranks = np.searchsorted(np.sort(total, axis=None)[:: max(1, total.size // 4096)], total)
    return ranks / ranks.max()


def _blocks(rng: np.random.Generator, size: int, side: int) -> np.ndarray:
    """Return squares of ``side`` pixels with a random value in 0 .. 1 each, (size, size)."""
    cells = size // side + 2
    offset = rng.integers(side)
    values = np.kron(rng.random((cells, cells)), np.ones((side, side)))
    return values[offset : offset + size, offset : offset + size]
