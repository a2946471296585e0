"""Pairs of an image and its label as users have them: what they contain, read in strips."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from dnas_mmseg.datasets.array_tiles import list_array_tiles
from dnas_mmseg.datasets.checks import band_sums
from dnas_mmseg.datasets.description import DatasetError
from dnas_mmseg.datasets.deviation import find_fill, sample_pixels
from dnas_mmseg.datasets.labels import LabelValue
from dnas_mmseg.raster import (
    VECTOR_SUFFIXES,
    ArrayName,
    GeoReference,
    Raster,
    Window,
    parse_array_name,
    raster_stem,
)

from .scenes import Scene, StackSettings, find_scenes

_STRIP_BYTES = 64 << 20
"""Memory of a strip of samples."""

_ARRAY_FILES = ('.h5', '.hdf5', '.npz')
"""Suffixes of files with stacks of tiles."""

_MAX_VALUES = 4096
"""Label values after which a raster is taken for an image: palettes and codes have far fewer."""


@dataclass
class PairContent:
    """Content of an image and its label.

    Attributes:
        name: Name of the pair, the stem of its image.
        image, label: Paths.
        shape: Height and width of the image, in pixels.
        dtype: Name of the numpy type of the image.
        bands: Name of each band as stored in the file, or ``''``; without alpha.
        georeference: Georeference of the image.
        has_alpha: Whether the image has an alpha band.
        fill: Extreme value that all bands have in many pixels, with their share, if it is not
            declared as nodata (:func:`dnas_mmseg.datasets.deviation.find_fill`).
        values: Number of pixels of each stored label value, an integer or a colour.
        colour_table: RGB colours of the label's values 0, 1, ...; empty if none.
        is_aligned: Whether the label has the size and the georeference of the image.
        pixels: Number of valid pixels of the image, if its statistics were computed.
        totals, squares: Sum and sum of squares per band over them, float64 (bands,).
    """

    name: str
    image: str
    label: str
    shape: tuple[int, int]
    dtype: str
    bands: tuple[str, ...]
    georeference: GeoReference = GeoReference()  # noqa: RUF009  immutable
    has_alpha: bool = False
    fill: tuple[float, float] | None = None
    values: Counter[LabelValue] = field(default_factory=Counter)
    colour_table: tuple[tuple[int, int, int], ...] = ()
    is_aligned: bool = True
    pixels: int = 0
    totals: np.ndarray | None = None
    squares: np.ndarray | None = None


def find_pairs(
    root: str | os.PathLike, images: str, labels: str, stacks: StackSettings | None = None
) -> list[Scene]:
    """Pair all images and labels of two folders or patterns by name.

    Args:
        root: Folder of relative names.
        images: Folder, or pattern such as ``scenes/{name}_rgb.tif``; or a stack of tiles
            (``ARRAY:"tiles.h5":images``), or a file with the stacks ``images`` and ``labels``.
        labels: Folder, pattern such as ``masks/{name}_mask.png``, or one file for all images.
        stacks: How scenes of several files become rasters; None for none.

    Raises:
        DatasetError: There are no files, or a file has no partner.
    """
    if images.startswith('ARRAY:') or Path(images).suffix.lower() in _ARRAY_FILES:
        return _find_stacked_pairs(root, images, labels)
    if Path(root, images).is_dir():
        images = os.path.join(images, '*')
    if Path(root, labels).is_dir():
        labels = os.path.join(labels, '{name}.*')
    pairs = find_scenes(root, images, labels, stacks)
    used = {pair.label for pair in pairs}
    if len(used) > 1:
        folder, suffix = pairs[0].label.parent, pairs[0].label.suffix
        others = sorted(path for path in folder.glob(f'*{suffix}') if path not in used)
        pattern = labels.replace('{name}', '*')
        unpaired = [path for path in others if path.match(pattern)]
        if unpaired:
            more = f' (and {len(unpaired) - 1} more)' if len(unpaired) > 1 else ''
            raise DatasetError(f'{unpaired[0]}: label without image{more}')
    return pairs


def _find_stacked_pairs(root: str | os.PathLike, images: str, labels: str) -> list[Scene]:
    """Return the tiles of two stacks of arrays."""
    names = []
    for text, default in ((images, 'images'), (labels, 'labels')):
        name = parse_array_name(text) or ArrayName(text)
        names.append(name.inside(os.fspath(root))._replace(array=name.array or default))
    if names[0].file != names[1].file:
        raise DatasetError(
            f'{images} and {labels}: stacks of two files; expected both in one, such as '
            'ARRAY:"tiles.h5":images and ARRAY:"tiles.h5":labels'
        )
    found = list_array_tiles(names[0].file, names[0].array, names[1].array)
    return [Scene(raster_stem(image), Path(image), Path(label)) for image, label in found]


def read_content(pair: Scene, statistics: bool = False, nodata: float | None = None) -> PairContent:
    """Read what a pair contains.

    Args:
        pair: Image and label; of polygons, nothing is read.
        statistics: Whether to read the whole image, too, for sums of its samples.
        nodata: Nodata value, in addition to the declared ones.

    Raises:
        RasterError: A file cannot be read.
        DatasetError: The label has thousands of values: it is an image.
    """
    with Raster(pair.image, nodata) as raster:
        info = raster.info
        result = PairContent(
            pair.name, os.fspath(pair.image), os.fspath(pair.label), info.shape, info.dtype,
            tuple(info.band_names[i] for i in info.data_bands), info.georeference,
            len(info.data_bands) < info.bands,
        )  # fmt: skip
        result.fill = find_fill(*sample_pixels(raster, info.data_bands))
        if statistics:
            sums = [
                band_sums(samples.values, samples.invalid)
                for samples in (
                    raster.samples(window) for window in _strips(info.shape, info.bands)
                )
            ]
            result.pixels = sum(pixels for pixels, _, _ in sums)
            result.totals = np.sum([total for _, total, _ in sums], axis=0)
            result.squares = np.sum([squares for _, _, squares in sums], axis=0)
    if pair.label.suffix.lower() in VECTOR_SUFFIXES:
        return result
    with Raster(pair.label) as raster:
        label = raster.info
        result.colour_table = label.colour_table
        result.is_aligned = label.shape == info.shape and not (
            info.georeference.describe_misalignment(label.georeference, *info.shape)
        )
        for window in _strips(label.shape, label.bands):
            result.values.update(_count_values(raster.samples(window).values, pair.label))
            if len(result.values) > _MAX_VALUES:
                raise DatasetError(
                    f'{pair.label}: more than {_MAX_VALUES} different values: expected a label, '
                    'with class codes or colours'
                )
    return result


def read_contents(
    pairs: Sequence[Scene],
    *,
    statistics: bool = False,
    nodata: float | None = None,
    workers: int = 1,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> list[PairContent]:
    """Read what pairs contain, see :func:`read_content`.

    Args:
        pairs: Images and labels.
        statistics, nodata: Arguments of :func:`read_content`.
        workers: Number of processes; 1 reads in this process.
        advance: Callback with the number of finished and of all pairs.
    """
    read = partial(read_content, statistics=statistics, nodata=nodata)
    if workers == 1:
        return _collect(map(read, pairs), len(pairs), advance)
    with ProcessPoolExecutor(workers) as pool:
        return _collect(pool.map(read, pairs, chunksize=8), len(pairs), advance)


def _collect(
    contents: Iterable[PairContent], total: int, advance: Callable[[int, int], None]
) -> list[PairContent]:
    result = []
    for content in contents:
        result.append(content)
        advance(len(result), total)
    return result


def _strips(shape: tuple[int, int], bands: int) -> list[Window]:
    """Return windows of whole rows that cover a raster."""
    height, width = shape
    rows = max(1, _STRIP_BYTES // (8 * width * bands))
    return [Window(0, row, width, min(rows, height - row)) for row in range(0, height, rows)]


def _count_values(samples: np.ndarray, path: Path) -> Counter[LabelValue]:
    """Return the number of pixels of each value, or of each colour of three bands."""
    if len(samples) == 1:
        values, counts = np.unique(samples[0][np.isfinite(samples[0])], return_counts=True)
        if (values != np.floor(values)).any():
            raise DatasetError(f'{path}: label values with fractions: expected class codes')
        return Counter(dict(zip(map(int, values.tolist()), counts.tolist(), strict=True)))
    if len(samples) not in (3, 4):
        raise DatasetError(f'{path}: {len(samples)} bands: expected codes or colours (1 or 3)')
    red, green, blue = samples[:3].astype(np.int32)
    packed, counts = np.unique((red << 16) | (green << 8) | blue, return_counts=True)
    colours = [(int(v) >> 16, int(v) >> 8 & 255, int(v) & 255) for v in packed]
    return Counter(dict(zip(colours, counts.tolist(), strict=True)))
