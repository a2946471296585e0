"""Pairs of an image and its label as users have them: what they contain, read in strips."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from pathlib import Path

import numpy as np

from dnas_mmseg.classes import Colour
from dnas_mmseg.datasets.array_tiles import list_array_tiles
from dnas_mmseg.datasets.checks import band_sums
from dnas_mmseg.datasets.description import DatasetError
from dnas_mmseg.datasets.deviation import find_fill, sample_pixels
from dnas_mmseg.datasets.labels import LabelValue
from dnas_mmseg.raster import (
    ArrayName,
    GeoReference,
    Raster,
    RasterInfo,
    Samples,
    Window,
    parse_array_name,
    raster_stem,
    row_windows,
    valid_pixels,
)

from .processes import map_unordered
from .scenes import Scene, StackSettings, find_scenes

_STRIP_BYTES = 64 << 20
"""Memory of a strip of samples."""

ARRAY_FILES = ('.h5', '.hdf5', '.npz')
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
        values: Number of pixels of each stored label value, an integer or a colour, that are valid
            in the image, 0 for values of invalid pixels only. All pixels count if the image is
            sampled, or the label has another size.
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
    colour_table: tuple[Colour, ...] = ()
    is_aligned: bool = True
    pixels: int = 0
    totals: np.ndarray | None = None
    squares: np.ndarray | None = None

    @property
    def colours(self) -> Counter[LabelValue]:
        """Number of pixels of each colour: stored, or by the colour table.

        Raises:
            DatasetError: A value has no colour.
        """
        result: Counter[LabelValue] = Counter()
        for value, pixels in self.values.items():
            if isinstance(value, tuple):
                result[value] += pixels
            elif 0 <= value < len(self.colour_table):
                result[self.colour_table[value]] += pixels
            else:
                raise DatasetError(
                    f'{self.label}: value {value} has no colour '
                    f'(its colour table has {len(self.colour_table)} entries), but the labels are '
                    'read by colours: expected a colour table, or three bands, in each file'
                )
        return result


def find_value_colours(contents: Iterable[PairContent]) -> dict[int, dict[Colour, str]]:
    """Return the colours of the stored values by the colour tables, and a label of each colour."""
    found: dict[int, dict[Colour, str]] = {}
    for content in contents:
        for value in content.values:
            if isinstance(value, int) and 0 <= value < len(content.colour_table):
                colours = found.setdefault(value, {})
                colours.setdefault(content.colour_table[value], content.label)
    return found


def have_colours(contents: Sequence[PairContent]) -> bool:
    """Return whether colours distinguish the classes.

    They do if a label stores them, or if colour tables give one value different colours, as those
    of images that were reduced to their own colours.
    """
    return any(isinstance(value, tuple) for c in contents for value in c.values) or any(
        len(colours) > 1 for colours in find_value_colours(contents).values()
    )


def find_pairs(
    root: str | os.PathLike,
    images: str,
    labels: str,
    stacks: StackSettings | None = None,
    polygons: bool = False,
) -> list[Scene]:
    """Pair all images and labels of two folders or patterns by name.

    Args:
        root: Folder of relative names.
        images: Folder, or pattern such as ``scenes/{name}_rgb.tif``; or a stack of tiles
            (``ARRAY:"tiles.h5":images``), or a file with the stacks ``images`` and ``labels``.
        labels: Folder, pattern such as ``masks/{name}_mask.png``, or one file for all images.
        stacks: How scenes of several files become rasters; None for none.
        polygons: Whether labels without the suffix of a raster are vector files.

    Raises:
        DatasetError: There are no files, or a file has no partner.
        RasterError: Mask values are set for images of a single file.
    """
    if images.startswith('ARRAY:') or Path(images).suffix.lower() in ARRAY_FILES:
        if stacks is not None:
            stacks.check_raster(images)
        return _find_stacked_pairs(root, images, labels)
    pairs = find_scenes(root, images, labels, stacks, polygons)
    if Path(root, labels).is_dir():
        used = {pair.label for pair in pairs}
        suffixes = {pair.label.suffix.lower() for pair in pairs}
        unpaired = sorted(
            path
            for path in Path(root, labels).iterdir()
            if path.suffix.lower() in suffixes and path not in used
        )
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


def read_content(
    pair: Scene, read_up_to: int | None = None, nodata: float | None = None, bands: int = 0
) -> PairContent:
    """Read what a pair contains.

    Args:
        pair: Image and label; of polygons, nothing is read.
        read_up_to: Longest side in pixels of images that are read whole, for sums of their samples;
            larger images are sampled. None reads only which pixels are valid.
        nodata: Nodata value, in addition to the declared ones.
        bands: Number of bands that the user names; an alpha band is one of them if they are as many
            as all bands of the file.

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
        index = range(info.bands) if bands == info.bands else info.data_bands
        if read_up_to is not None:
            result.fill = find_fill(*sample_pixels(raster, index))
        if read_up_to is not None and max(info.shape) <= read_up_to:
            sums = [
                band_sums(samples.values, samples.invalid)
                for samples in (raster.samples(w, index) for w in _windows(info))
            ]
            result.pixels = sum(pixels for pixels, _, _ in sums)
            result.totals = np.sum([total for _, total, _ in sums], axis=0)
            result.squares = np.sum([squares for _, _, squares in sums], axis=0)
    if pair.has_polygons:
        return result
    with Raster(pair.image, nodata) as image, Raster(pair.label) as raster:
        label = raster.info
        result.colour_table = label.colour_table
        result.is_aligned = label.shape == info.shape and not (
            info.georeference.describe_misalignment(label.georeference, *info.shape)
        )
        counts_valid = (
            label.shape == info.shape
            and (info.may_have_invalid or nodata is not None)
            and (read_up_to is None or max(info.shape) <= read_up_to)
        )
        for window in _windows(label):
            samples = raster.samples(window)
            counts = _count_values(samples, pair.label)
            if counts_valid and (invalid := image.samples(window, index).invalid) is not None:
                masked = invalid if samples.masked is None else samples.masked | invalid
                valid = _count_values(replace(samples, masked=masked), pair.label)
                counts = Counter({**dict.fromkeys(counts, 0), **valid})
            result.values.update(counts)
            if len(result.values) > _MAX_VALUES:
                raise DatasetError(
                    f'{pair.label}: more than {_MAX_VALUES} different values: expected a label, '
                    'with class codes or colours'
                )
    return result


def read_contents(
    pairs: Sequence[Scene],
    *,
    read_up_to: int | None = None,
    nodata: float | None = None,
    bands: int = 0,
    workers: int = 1,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> list[PairContent]:
    """Read what pairs contain, see :func:`read_content`.

    Args:
        pairs: Images and labels.
        read_up_to, nodata, bands: Arguments of :func:`read_content`.
        workers: Number of processes; 1 reads in this process.
        advance: Callback with the number of finished and of all pairs.
    """
    calls = [(i, pair, read_up_to, nodata, bands) for i, pair in enumerate(pairs)]
    found: list[tuple[int, PairContent]] = []
    for _, result in map_unordered(_read_numbered, calls, workers):
        found.append(result)
        advance(len(found), len(pairs))
    return [content for _, content in sorted(found, key=itemgetter(0))]


def _read_numbered(
    number: int, pair: Scene, read_up_to: int | None, nodata: float | None, bands: int
) -> tuple[int, PairContent]:
    return number, read_content(pair, read_up_to, nodata, bands)


def _windows(info: RasterInfo) -> Iterator[Window]:
    """Yield windows of whole rows that cover a raster and fit into memory."""
    rows = max(1, _STRIP_BYTES // (8 * info.width * info.bands))
    return row_windows(info.height, info.width, rows)


def _count_values(samples: Samples, path: Path) -> Counter[LabelValue]:
    """Return the number of pixels of each value, or of each colour of three bands.

    Masked pixels and those with the declared nodata value have none, unless it is 0, which programs
    declare by default, whether it is a class or not.
    """
    values = samples.values
    is_zero = set(samples.nodata) == {0}
    invalid = samples.masked if is_zero else samples.invalid
    chosen = valid_pixels(values, invalid)
    if len(chosen) == 1:
        codes, counts = np.unique(chosen[0][np.isfinite(chosen[0])], return_counts=True)
        if (codes != np.floor(codes)).any():
            raise DatasetError(f'{path}: label values with fractions: expected class codes')
        if codes.size and np.abs(codes.astype(float)).max() >= 2**31:
            raise DatasetError(
                f'{path}: label values up to {np.abs(codes).max():g}: expected class codes; '
                'declare fill values as nodata (gdal_translate -a_nodata)'
            )
        return Counter(dict(zip(map(int, codes.tolist()), counts.tolist(), strict=True)))
    if len(chosen) not in (3, 4):
        raise DatasetError(f'{path}: {len(chosen)} bands: expected codes or colours (1 or 3)')
    red, green, blue = chosen[:3].astype(np.int32)
    packed, counts = np.unique((red << 16) | (green << 8) | blue, return_counts=True)
    colours = [(int(v) >> 16, int(v) >> 8 & 255, int(v) & 255) for v in packed]
    return Counter(dict(zip(colours, counts.tolist(), strict=True)))
