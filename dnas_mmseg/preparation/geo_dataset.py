"""Tiles of torchgeo's data sets of rasters and polygons, cut by their samplers."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dnas_mmseg.bands import band_names
from dnas_mmseg.classes import default_palette
from dnas_mmseg.datasets.checks import PairReport, band_sums
from dnas_mmseg.datasets.configs import SPLITS
from dnas_mmseg.datasets.description import DESCRIPTION_FILE, DatasetDescription, DatasetError
from dnas_mmseg.datasets.labels import IGNORE, LabelEncoding, LabelError
from dnas_mmseg.datasets.tiles import tile_paths
from dnas_mmseg.datasets.torchgeo_metadata import import_torchgeo
from dnas_mmseg.raster import GDAL_TYPES, Samples, write_raster

from .conversion import describe_data_root
from .geo_source import PROGRAM, GeoQuery, GeoSource, bounds_georeference
from .pairs import PairContent
from .tile_lists import split_tiles
from .tiling import nodata_suffices

_CONTENT = (DESCRIPTION_FILE, *(f'{split}.txt' for split in SPLITS), 'labels', 'images')
"""Files and folders of a data root, in the order in which they are removed."""


@dataclass(frozen=True)
class GeoDataRoot:
    """Result of :func:`cut_geo_dataset`.

    Attributes:
        root: Data root.
        description: Content of ``dataset.json``.
        tiles: Number of tiles of each split.
        method: Description of the method, for messages.
        distance: Smallest distance between training and test tiles in metres; None if unknown.
        notes: Notes for the user, one line each.
    """

    root: Path
    description: DatasetDescription
    tiles: dict[str, int]
    method: str
    distance: float | None = None
    notes: list[str] = field(default_factory=list)


def cut_geo_dataset(
    dataset: Any,
    out: str | os.PathLike,
    *,
    size: int = 512,
    stride: int | None = None,
    sampler: Iterable | None = None,
    bands: Sequence[str] = (),
    classes: Sequence[str] = (),
    palette: Sequence[Sequence[int]] = (),
    label_values: Mapping[Any, str | None] | Sequence[int] | None = None,
    label_convention: str = 'train_id',
    nodata: float | None = None,
    min_labelled: float = 0.0,
    name: str = '',
    shares: Sequence[float] = (0.6, 0.2, 0.2),
    by: str = 'blocks',
    block_size: float | None = None,
    gap: float = 0.0,
    seed: int = 0,
    overwrite: bool = False,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> GeoDataRoot:
    """Cut a ``GeoDataset`` of torchgeo into a data root: tiles, lists, and ``dataset.json``.

    :class:`MultiBandSegDataset` and ``dnas train`` read the result. Tested with torchgeo 0.8.1;
    earlier versions, whose queries are not slices, are refused.

    Samples are written as torchgeo returns them: in the type of the files (uint8, uint16 or int16)
    if all values of all tiles are exact in it, otherwise as float32. Labels are train ids, and 255
    for unlabelled pixels, for pixels outside the data set (a grid of tiles extends beyond it, and
    torchgeo fills images and masks with 0), and for invalid pixels: those with the nodata value
    that the first image file declares (0 if it has a mask instead), and those with ``nodata``.
    Queries move to the pixel grid of the image files, by at most half a pixel, so that torchgeo
    does not resample images of this resolution and CRS.

    The data root appears under its final name when it is complete.

    Args:
        dataset: ``torchgeo.datasets.GeoDataset`` whose samples have an ``image``, (bands, H, W),
            and a ``mask``, (H, W) or (1, H, W), such as ``images & masks``. Its transforms must
            neither be random nor change the size.
        out: Data root to write.
        size: Side of a tile, in pixels.
        stride: Distance between neighbouring tiles, in pixels; defaults to ``size``.
        sampler: ``GeoSampler`` of ``dataset``, or any queries; defaults to a ``GridGeoSampler``
            with ``size`` and ``stride``. Files smaller than ``size`` have no tile in a grid.
        bands: Names of the bands of an image; default to those of the torchgeo class or the files.
        classes: Class names in train-id order; default to those of ``label_values`` or of the
            torchgeo class.
        palette: RGB colours of the classes; default to those of the masks for train ids, or else to
            a default palette.
        label_values: Class of each mask value, None for unlabelled, instead of a convention; see
            :func:`dnas_mmseg.datasets.labels.resolve_label_values`.
        label_convention: ``'train_id'`` (0 .. n-1, 255 unlabelled) or ``'index'`` (1 .. n, 0
            unlabelled).
        nodata: Value that all bands of invalid pixels have, in addition to the declared one.
        min_labelled: Smallest share of labelled pixels in the part of a tile inside the data set;
            tiles below it are skipped.
        name: Name of the scene in the names of tiles, ``<name>_<row>_<column>``; defaults to the
            class of the images. If there are several periods, their dates follow it.
        shares, by, block_size, gap, seed: Split of the tiles, see
            :func:`dnas_mmseg.preparation.tile_lists.split_tiles`.
        overwrite: Whether to replace a data root that this function wrote. All its tiles are
            removed.
        advance: Callback with the number of finished and of all tiles.

    Returns:
        Data root, with the statistics of its training tiles in the description.

    Raises:
        DatasetError: torchgeo is not installed, ``dataset`` is no ``GeoDataset``, a sample has no
            image or mask, bands or classes are unknown, masks have unknown values, there are no
            queries, or ``out`` contains a data set.
        LabelError: ``label_values`` is invalid.

    Example:
        >>> images, masks = Images('data/images'), Masks('data/masks')  # doctest: +SKIP
        >>> cut_geo_dataset(  # doctest: +SKIP
        ...     images & masks, 'data/tiles', size=256, bands=('red', 'green', 'blue', 'nir'),
        ...     label_values={1: 'water', 2: 'land', 0: None},
        ... ).tiles
        {'train': 60, 'val': 20, 'test': 20}
    """
    out = Path(out)
    source = GeoSource(dataset, nodata)
    _check_target(out, overwrite, source)
    queries = list(source.queries(_sampler(dataset, sampler, size, stride), name))
    if not queries:
        width, height = source.extent
        raise DatasetError(
            f'{source.name}: the sampler has no queries: the data set covers {width} x {height} '
            'pixels at its resolution; a grid requires files of at least one tile: use a smaller '
            'size, or another sampler'
        )
    names, labels = source.labels(classes, label_values, label_convention)
    colours = tuple(map(tuple, palette)) or source.palette(labels) or default_palette(len(names))
    if len(colours) != len(names):
        raise DatasetError(f'{len(colours)} colours in the palette, {len(names)} classes')
    labels = replace(labels, palette=colours)
    created = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix='.cut-', dir=out) as folder:
            staging = Path(folder)
            cutter = _Cutter(source, staging, band_names(bands), labels, min_labelled)
            tiles, notes = cutter.cut(queries, advance)
            split = split_tiles(
                [tile.content for tile in tiles],
                shares,
                by=by,
                seed=seed,
                block_size=block_size,
                gap=gap,
                labels=LabelEncoding('train_id', len(names)),
                names=names,
            )
            reports = {tile.content.image: tile.report for tile in tiles}
            description = describe_data_root(
                staging,
                {
                    part: [(tile.image, tile.label) for tile in found]
                    for part, found in split.parts.items()
                },
                (reports[tile.image] for tile in split.parts['train']),
                classes=names,
                palette=colours,
                bands=cutter.bands,
                label_convention='train_id',
                provenance={
                    'program': PROGRAM,
                    'source': source.name,
                    'torchgeo': import_torchgeo('torchgeo', PROGRAM).__version__,
                    'crs': source.crs_name,
                    'resolution': list(source.resolution),
                    'split': split.method,
                    'seed': seed,
                },
            )
            _check_target(out, overwrite, source)
            _install(staging, out)
    except BaseException:
        if created:
            with suppress(OSError):  # not empty
                out.rmdir()
        raise
    counts = {part: len(found) for part, found in split.parts.items()}
    return GeoDataRoot(out, description, counts, split.method, split.distance, notes + split.notes)


def encode_mask(
    mask: np.ndarray,
    labels: LabelEncoding,
    invalid: np.ndarray | None = None,
    nodata: Sequence[float | None] = (),
) -> np.ndarray:
    """Convert a mask to train ids.

    Args:
        mask: Mask of any type, (H, W) or (bands, H, W).
        labels: Encoding of its values.
        invalid: Pixels without a label, boolean (H, W); their values may be unknown.
        nodata: Declared nodata value of each band; unknown if their number differs.

    Returns:
        Train ids, uint8 (H, W); 255 for unlabelled and invalid pixels, nodata, and NaN.

    Raises:
        LabelError: The mask has unknown values.

    Example:
        >>> encode_mask(np.array([[1, 2, 9]]), LabelEncoding('index', 2), np.array([[0, 0, 1]]) > 0)
        array([[  0,   1, 255]], dtype=uint8)
    """
    values = mask if mask.ndim == 3 else mask[None]
    values = values.astype(np.uint8) if values.dtype.kind == 'b' else values
    declared = tuple(nodata) if len(nodata) == len(values) else (None,) * len(values)
    return labels.encode(Samples(values, declared, masked=invalid))


class _Tile(NamedTuple):
    content: PairContent
    report: PairReport


class _InexactError(Exception):
    """Samples are not exact in the type of the files."""


class _Cutter:
    """Writer of tiles.

    Args:
        source: Data set.
        folder: Data root to write.
        bands: Band names; default to those of the files.
        labels: Encoding of the masks, with a palette.
        min_labelled: Smallest share of labelled pixels.
    """

    def __init__(
        self,
        source: GeoSource,
        folder: Path,
        bands: tuple[str, ...],
        labels: LabelEncoding,
        min_labelled: float,
    ) -> None:
        if not 0 <= min_labelled <= 1:
            raise DatasetError(f'min_labelled = {min_labelled}: expected a share from 0 to 1')
        self.source, self.folder, self.bands = source, folder, bands
        self.labels, self.min_labelled = labels, min_labelled
        self.dtype = ''

    def cut(
        self, queries: Sequence[GeoQuery], advance: Callable[[int, int], None]
    ) -> tuple[list[_Tile], list[str]]:
        """Write the tiles of queries; return them, and notes for the user."""
        try:
            found = self._cut_all(queries, advance)
        except _InexactError:
            self.dtype = 'float32'
            found = self._cut_all(queries, advance)
        tiles = [tile for tile in found if tile is not None]
        skipped = len(queries) - len(tiles)
        reason = 'they are outside the data set or invalid, or have too few labelled pixels'
        if not tiles:
            raise DatasetError(f'{self.source.name}: no tile remains of {skipped}: {reason}')
        return tiles, [f'{skipped} tiles are skipped: {reason}'] if skipped else []

    def _cut_all(
        self, queries: Sequence[GeoQuery], advance: Callable[[int, int], None]
    ) -> list[_Tile | None]:
        found = []
        for number, query in enumerate(queries, 1):
            found.append(self._cut(query))
            advance(number, len(queries))
        return found

    def _cut(self, query: GeoQuery) -> _Tile | None:
        """Write a tile; return None if it is skipped."""
        source = self.source
        covered = source.coverage(query)
        if not covered.any():
            return None
        image, mask = source.read(query)
        self._set_bands(len(image))
        samples = source.samples(self._convert(image), covered)
        invalid = samples.invalid
        image_path, label_path = tile_paths(query.scene, query.row, query.column)
        nodata = [band.nodata for band in source.mask_bands]
        try:
            ids = encode_mask(mask, self.labels, invalid, nodata)
        except LabelError as error:
            raise DatasetError(f'{source.name}: {error}') from None
        labelled = np.count_nonzero(ids != IGNORE)
        if (invalid is not None and invalid.all()) or (
            labelled < self.min_labelled * np.count_nonzero(covered)
        ):
            return None
        georeference = bounds_georeference(query.bounds, source.resolution, source.crs)
        tag = _nodata_tag(samples)
        valid = None if invalid is None or tag is not None else ~invalid
        write_raster(
            self.folder / image_path,
            samples.values,
            names=self.bands,
            nodata=tag,
            valid=valid,
            georeference=georeference,
        )
        write_raster(self.folder / label_path, ids, palette=self.labels.palette)
        pixels, totals, squares = band_sums(samples.values, invalid)
        counts = np.bincount(ids.ravel(), minlength=IGNORE + 1)
        content = PairContent(
            Path(image_path).stem, image_path, label_path, query.shape, self.dtype, self.bands,
            georeference, values=Counter({int(i): int(counts[i]) for i in np.flatnonzero(counts)}),
        )  # fmt: skip
        report = PairReport(
            shape=query.shape,
            bands=len(self.bands),
            dtype=self.dtype,
            pixels=pixels,
            totals=totals,
            squares=squares,
            class_pixels=counts[: self.labels.num_classes],
            image=image_path,
        )
        return _Tile(content, report)

    def _set_bands(self, number: int) -> None:
        """Check the number of bands, and name them if the user did not."""
        if not self.bands:
            known = [band.name for band in self.source.image_bands]
            if len(known) != number or not all(known):
                raise DatasetError(
                    f'{self.source.name}: the names of the {number} bands are unknown; set '
                    'bands=(...), in the order of the image'
                )
            self.bands = band_names(known)
        if len(self.bands) != number:
            raise DatasetError(
                f'{self.source.name}: {number} bands, expected {len(self.bands)} '
                f'({", ".join(self.bands)}); set bands=(...), in the order of the image'
            )

    def _convert(self, image: np.ndarray) -> np.ndarray:
        """Return an image in the type of the tiles.

        Raises:
            _InexactError: That type cannot hold it exactly.
        """
        if not self.dtype:
            types = {band.dtype for band in self.source.image_bands}
            own = image.dtype.name if image.dtype.kind in 'iu' else ''
            stored = own if own in GDAL_TYPES else next(iter(types)) if len(types) == 1 else ''
            self.dtype = stored if stored in GDAL_TYPES else 'float32'
        if self.dtype == 'float32':
            return image.astype(np.float32)
        with np.errstate(invalid='ignore'):
            converted = image.astype(self.dtype)
        if not (converted == image).all():
            raise _InexactError
        return converted


def _sampler(dataset: Any, sampler: Iterable | None, size: int, stride: int | None) -> Iterable:
    """Return the sampler of the user, or else of a grid."""
    if sampler is not None:
        return sampler
    stride = size if stride is None else stride
    if not 0 < stride <= size:
        raise DatasetError(f'size = {size}, stride = {stride}: expected 0 < stride <= size')
    samplers = import_torchgeo('torchgeo.samplers', PROGRAM)
    return samplers.GridGeoSampler(dataset, size=size, stride=stride)


def _nodata_tag(samples: Samples) -> float | None:
    """Return the nodata value that marks all invalid pixels by itself; None if none does."""
    values = sorted(v for v in {*samples.nodata, samples.user_nodata} if v is not None)
    invalid = samples.invalid
    if invalid is None:
        return None
    return next((v for v in values if nodata_suffices(samples.values, v, invalid)), None)


def _check_target(out: Path, overwrite: bool, source: GeoSource) -> None:
    """Raise unless a folder has no data set, or one that may be overwritten."""
    existing = [out / name for name in _CONTENT if (out / name).exists()]
    if not existing:
        return
    if not overwrite:
        raise DatasetError(f'{existing[0]} exists: choose another folder, or set overwrite=True')
    if DatasetDescription.load(out).provenance.get('program') != PROGRAM:
        raise DatasetError(f'{out} contains a data set from another source: choose another folder')
    removed = [(out / folder).resolve() for folder in ('images', 'labels')]
    for leaf in source.leaves:
        for path in leaf.index.filepath if 'filepath' in leaf.index else ():
            if any(folder in Path(path).resolve().parents for folder in removed):
                raise DatasetError(f'{path} would be overwritten: choose another folder than {out}')


def _install(staging: Path, out: Path) -> None:
    """Move a complete data root to its folder, ``dataset.json`` last."""
    replaced = staging / 'replaced'
    replaced.mkdir()
    for name in _CONTENT:
        if (out / name).exists():
            os.rename(out / name, replaced / name)
    for name in reversed(_CONTENT):
        os.rename(staging / name, out / name)
