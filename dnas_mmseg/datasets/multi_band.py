"""Data set of images with any bands, sample type and classes."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from mmseg.registry import DATASETS

from dnas_mmseg.bands import band_names
from dnas_mmseg.classes import default_palette
from dnas_mmseg.datasets.transforms.loading import (
    LoadRasterAnnotations,
    LoadRasterFromFile,
    selected_bands,
)
from dnas_mmseg.raster import (
    RASTER_SUFFIXES,
    ArrayName,
    Raster,
    RasterError,
    is_virtual,
    parse_array_name,
)

from .base import InspectableDataset, raise_problems
from .checks import Expectation, PairReport, inspect_pairs
from .description import DESCRIPTION_FILE, DatasetDescription, DatasetError
from .histograms import HistogramBins
from .labels import IGNORE, LabelEncoding, resolve_label_values
from .list_files import read_lines
from .tiles import MANIFEST, parse_tile_name


@DATASETS.register_module()
class MultiBandSegDataset(InspectableDataset):
    """Data set of images with any number of bands and labels of any classes.

    Classes and bands: those of ``metainfo``. Arguments and metainfo that are not set default to
    ``dataset.json`` in ``data_root``, which ``dnas convert`` writes.

    Format: images in any raster format that GDAL reads, of any sample type, with all bands in one
    file; labels as rasters of the same size, with one of three conventions (``label_convention``)
    or any values (``label_values``). Pairs are listed in a file, or matched by name in two folders.

    The constructor checks the lists, the existence of all files, and bands, type, size and label
    values of the first ``check_files`` pairs.

    Args:
        data_root: Folder of the data set.
        ann_file: List file with ``image<TAB>label`` per line (only ``image`` without labels),
            relative to ``data_root`` or to the prefixes, also names of arrays
            (:func:`list_array_tiles`). Defaults to pairing all files of the two
            folders by name.
        data_prefix: Folders of images and labels; ``seg_map_path=None`` for images only.
        metainfo: Dictionary with ``classes``, ``palette`` and ``bands`` (in file order).
        label_convention: ``'train_id'`` (0 .. n-1, 255 unlabelled), ``'index'`` (1 .. n, 0
            unlabelled) or ``'rgb'`` (the palette's colours).
        label_values: Class name of each stored label value, such as ``{10: 'trees', 20: 'trees',
            30: 'grass', 0: None}`` with None for unlabelled; or the values of ``classes`` in their
            order, such as ``(0, 255)``. Values are integers or colours ``'#rrggbb'``. It replaces
            ``label_convention``, and renames the classes of ``dataset.json``.
        use_bands: Names of the bands to use, in this order; inserts ``SelectBands`` behind the
            loader of the pipeline. Defaults to all.
        dtype: Required numpy type of the images; defaults to that of ``dataset.json``, otherwise
            any type shared by all images.
        nodata: Nodata value, in addition to the declared ones: pixels with this value in all bands
            are invalid (0 for black borders without a tag).
        reduce_zero_label: mmseg's spelling of ``label_convention='index'``.
        img_suffix, seg_map_suffix: Suffixes of the files in the two folders; by default, any of
            :data:`dnas_mmseg.raster.RASTER_SUFFIXES`.
        check_files: Number of pairs to open in the constructor.
        count_once: Whether a pixel in overlapping tiles ``<scene>_<row>_<column>`` of one scene is
            255 in all but one of them, so that metrics count each labelled pixel once. Defaults to
            True in evaluation (``test_mode``) of tiles cut by ``dnas convert``, which have a
            ``manifest`` folder.
        **kwargs: Arguments of :class:`mmseg.datasets.BaseSegDataset`.

    Raises:
        DatasetError: The data differ from their description; the message lists the problems.

    Example:
        >>> from dnas_mmseg.raster import write_raster
        >>> write_raster('data/images/a.tif', np.zeros((2, 8, 8), np.uint8), names=('red', 'nir'))
        >>> write_raster('data/labels/a.png', np.ones((8, 8), np.uint8))
        >>> metainfo = dict(classes=('land', 'water'), bands=('red', 'nir'))
        >>> dataset = MultiBandSegDataset('data', metainfo=metainfo, label_convention='train_id')
        >>> dataset.pairs
        [('data/images/a.tif', 'data/labels/a.png')]
    """

    ann_file: str
    data_prefix: dict[str, str | None]

    LABEL_CONVENTION: str | None = None
    """Label convention if neither the arguments nor ``dataset.json`` set it."""

    def __init__(
        self,
        data_root: str | None = None,
        ann_file: str = '',
        data_prefix: dict = dict(img_path='images', seg_map_path='labels'),  # noqa: B006
        metainfo: dict | None = None,
        label_convention: str | None = None,
        label_values: Mapping[int, str | None] | Sequence[int | str] | None = None,
        use_bands: Sequence[str] | None = None,
        dtype: str | None = None,
        nodata: float | None = None,
        reduce_zero_label: bool = False,
        img_suffix: str | None = None,
        seg_map_suffix: str | None = None,
        check_files: int = 8,
        count_once: bool | None = None,
        **kwargs,
    ) -> None:
        if data_root is not None and not os.path.isdir(data_root):
            raise DatasetError(f'data_root {data_root}: no such folder')
        self.description = description = DatasetDescription.load(data_root)
        self._check_classes(description, data_root)
        metainfo = dict(metainfo or {})
        if reduce_zero_label and label_convention not in (None, 'index'):
            raise DatasetError(
                f"reduce_zero_label=True is label_convention='index' (1 .. n, 0 unlabelled), but "
                f"label_convention='{label_convention}' is set as well: remove one of them"
            )
        convention = 'index' if reduce_zero_label else label_convention
        if label_values is not None and convention is not None:
            raise DatasetError(
                f"label_values and label_convention='{convention}' are both set, perhaps one is "
                'inherited: set the other one to None'
            )
        self.labels = self._resolve_labels(metainfo, convention, label_values, data_root)
        stored_metainfo = {**self.METAINFO, **description.metainfo}
        metainfo = {**stored_metainfo, **metainfo}
        self.bands = metainfo['bands'] = band_names(metainfo.get('bands'))
        if use_bands is not None:
            metainfo['use_bands'] = band_names(use_bands)
            kwargs['pipeline'] = _insert_selection(kwargs.get('pipeline') or (), use_bands)
        used = selected_bands(kwargs.get('pipeline') or ())
        unknown = [name for name in used if self.bands and name not in self.bands]
        if unknown:
            raise DatasetError(
                f'SelectBands: no band {", ".join(unknown)} among those of the data set, '
                f'{", ".join(self.bands)}'
            )
        self.used_bands = used or self.bands
        self.nodata = nodata
        self.expected = Expectation(
            self.bands, dtype or description.dtype, self.labels, used, nodata
        )
        self.check_files = check_files
        if count_once is None:
            cut_here = data_root is not None and (Path(data_root) / MANIFEST).is_dir()
            count_once = kwargs.get('test_mode', False) and cut_here
        self.count_once = count_once
        super().__init__(
            ann_file=ann_file,
            data_root=data_root,
            data_prefix=data_prefix,
            metainfo=metainfo,
            img_suffix=img_suffix,
            seg_map_suffix=seg_map_suffix,
            **kwargs,
        )

    def _resolve_labels(
        self,
        metainfo: dict,
        convention: str | None,
        label_values: Mapping | Sequence | None,
        data_root: str | None,
    ) -> LabelEncoding:
        """Set the classes of the files, and return how their labels encode them.

        Classes named by ``label_values`` are added to ``metainfo``.
        """
        description = self.description
        stored = {**self.METAINFO, **description.metainfo}
        known = tuple(stored.get('classes') or metainfo.get('classes') or ())
        palette = stored.get('palette') or metainfo.get('palette') or ()
        values = label_values
        if values is None and convention is None:
            values = description.label_values
        if values:
            if not isinstance(values, Mapping):
                classes = known
            else:
                classes = (stored if label_values is None else metainfo).get('classes') or ()
            self.file_classes, resolved = resolve_label_values(values, classes)
            metainfo.setdefault('classes', self.file_classes)
            if len(palette) != len(self.file_classes):
                palette = default_palette(len(self.file_classes))
            metainfo.setdefault('palette', palette)
            self.file_palette = tuple(map(tuple, palette))
            return LabelEncoding(
                'values', len(self.file_classes), self.file_palette, values=resolved
            )
        self.file_classes, self.file_palette = known, tuple(map(tuple, palette))
        if not known:
            raise DatasetError(
                f'the classes are unknown: set metainfo=dict(classes=...), or add a '
                f'{DESCRIPTION_FILE} to {data_root}'
            )
        described = description.label_convention
        if convention and described and convention != described:
            raise DatasetError(
                f"{data_root}/{DESCRIPTION_FILE} has label_convention='{described}', but the "
                f"config has '{convention}', perhaps inherited: set '{described}' in the config, "
                'or correct the file'
            )
        convention = convention or described or self.LABEL_CONVENTION
        if convention is None:
            raise DatasetError(
                'label_convention is unknown: set it (train_id, index or rgb) or label_values, or '
                f'add a {DESCRIPTION_FILE} to {data_root}'
            )
        return LabelEncoding(convention, len(known), self.file_palette)

    @property
    def pairs(self) -> list[tuple[str, str | None]]:
        """Paths of image and label of each sample."""
        infos = (super(MultiBandSegDataset, self).get_data_info(i) for i in range(len(self)))
        return [(info['img_path'], info.get('seg_map_path')) for info in infos]

    def get_data_info(self, idx: int) -> dict:
        """Return a sample's paths and the metadata for the loading transforms."""
        info = super().get_data_info(idx)
        info.update(
            bands=self.bands,
            nodata=self.nodata,
            label_encoding=self.labels,
            label_map=self.label_map,
            reduce_zero_label=False,
            seg_fields=[],
        )
        return info

    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the classes in a tile's label, for mmengine's ``ClassBalancedDataset``.

        Args:
            idx: Index of the tile.
        """
        classes = np.unique(LoadRasterAnnotations()(self.get_data_info(idx))['gt_seg_map'])
        return classes[classes != IGNORE].tolist()

    def inspect(
        self,
        *,
        statistics: bool = False,
        workers: int = 0,
        track: Callable[[Iterable], Iterable] = iter,
        bins: HistogramBins | None = None,
    ) -> Iterator[PairReport]:
        """Yield a report on each pair, in order; see :func:`inspect_pairs`."""
        settings: dict[str, Any] = dict(
            statistics=statistics, workers=workers, track=track, bins=bins
        )
        return inspect_pairs(self.pairs, self.expected, **settings)

    def load_data_list(self) -> list[dict]:
        """Return the paths of all pairs, after checking the lists and the first pairs."""
        pairs = self._listed_pairs() if self.ann_file else self._folder_pairs()
        if not pairs:
            where = self.ann_file or self.data_prefix.get('img_path')
            raise DatasetError(
                f'{where}: no files' + ('' if self.ann_file else self._suffix_hint())
            )
        # Statistics read the samples: a truncated file opens without an error.
        reports = inspect_pairs(pairs[: self.check_files], self.expected, statistics=True)
        self._check_reports(reports, f'{len(pairs)} pairs')
        infos: list[dict[str, Any]] = [
            {'img_path': image} if label is None else {'img_path': image, 'seg_map_path': label}
            for image, label in pairs
        ]
        if self.count_once:
            size = self.description.tile_size or Raster(pairs[0][0]).info.shape
            for info, neighbours in zip(infos, self._neighbours(pairs, size), strict=True):
                info['overlapping_tiles'] = neighbours
        return infos

    def _neighbours(
        self, pairs: Sequence[tuple[str, str | None]], size: tuple[int, int]
    ) -> Iterator[list[tuple[int, int]]]:
        """Yield for each tile the offsets (rows, columns) to overlapping tiles of the same size."""
        places = []
        for image, _ in pairs:
            place = parse_tile_name(image)
            if place is None:
                raise DatasetError(
                    f'count_once requires tiles named <scene>_<row>_<column>, got {image}'
                )
            places.append(place)
        # In a grid of cells of the tile size, only tiles of adjacent cells can overlap.
        cells = defaultdict(list)
        for scene, row, column in places:
            cells[scene, row // size[0], column // size[1]].append((row, column))
        for scene, row, column in places:
            i, j = row // size[0], column // size[1]
            around = product((scene,), (i - 1, i, i + 1), (j - 1, j, j + 1))
            yield [
                (other[0] - row, other[1] - column)
                for near in around
                for other in cells.get(near, ())
                if other != (row, column)
                and abs(other[0] - row) < size[0]
                and abs(other[1] - column) < size[1]
            ]

    def _join_prefix(self) -> None:
        if self.ann_file and not os.path.isabs(self.ann_file) and self.data_root:
            self.ann_file = os.path.join(self.data_root, self.ann_file)
        self.data_prefix = {
            key: os.path.join(self.data_root, prefix) if prefix is not None else None
            for key, prefix in self.data_prefix.items()
        }

    def _listed_pairs(self) -> list[tuple[str, str | None]]:
        lines = read_lines(self.ann_file)
        if not any(line.strip() for line in lines):
            raise DatasetError(f'{self.ann_file} is empty: expected "image<TAB>label" per line')
        pairs: list[tuple[str, str | None]] = []
        problems = []
        labelled = self.data_prefix.get('seg_map_path') is not None
        listing = _Listing()
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            parts = line.strip().split('\t')
            kinds = (('image', 'img_path'), ('label', 'seg_map_path'))[: 1 + labelled]
            if len(parts) != len(kinds):
                problems.append(
                    f'{self.ann_file}:{number}: expected "{"<TAB>".join(k for k, _ in kinds)}", '
                    f'found {line.strip()!r}'
                )
                continue
            pair = []
            for name, (kind, prefix) in zip(parts, kinds, strict=True):
                bases = (self.data_root or '', self.data_prefix.get(prefix) or '')
                try:
                    found, place = _find(name.strip(), bases, listing)
                except RasterError as error:
                    problems.append(f'{self.ann_file}:{number}: {error}')
                    break
                if not found:
                    problems.append(f'{self.ann_file}:{number}: {kind} {place} does not exist')
                pair.append(found)
            else:
                pairs.append((pair[0], pair[1] if labelled else None))
        raise_problems(f'{self.ann_file} cannot be used', problems)
        return pairs

    def _folder_pairs(self) -> list[tuple[str, str | None]]:
        images = _files_by_stem(self.data_prefix.get('img_path'), self.img_suffix)
        label_folder = self.data_prefix.get('seg_map_path')
        if label_folder is None:
            return [(path, None) for path in images.values()]
        labels = _files_by_stem(label_folder, self.seg_map_suffix)
        problems = [f'{images[s]}: image without label' for s in images if s not in labels]
        problems += [f'{labels[s]}: label without image' for s in labels if s not in images]
        raise_problems('images and labels do not match', problems)
        return [(path, labels[stem]) for stem, path in images.items()]

    def _suffix_hint(self) -> str:
        return f" with suffix '{self.img_suffix}' (set by img_suffix)" if self.img_suffix else ''

    def _check_classes(self, description: DatasetDescription, root: str | None) -> None:
        own = tuple(self.METAINFO.get('classes', ()))
        if own and description.classes and description.classes != own:
            raise DatasetError(
                f'{root}/{DESCRIPTION_FILE} has the classes {", ".join(description.classes)}; '
                f'{type(self).__name__} has {", ".join(own)}. Use MultiBandSegDataset.'
            )


def dataset_parts(dataset: Any) -> Iterator[Any]:
    """Yield the data sets inside wrappers such as ``ConcatDataset`` and ``RepeatDataset``."""
    inside = getattr(dataset, 'datasets', None) or getattr(dataset, 'dataset', None)
    if inside is None:
        yield dataset
        return
    for child in inside if isinstance(inside, (list, tuple)) else (inside,):
        yield from dataset_parts(child)


def multi_band_parts(dataset: object) -> list[InspectableDataset]:
    """Return the multi-band data sets inside wrappers such as ``ConcatDataset``.

    Raises:
        DatasetError: A data set is of another type, or the data sets have different classes.
    """
    parts: list[InspectableDataset] = []
    for part in dataset_parts(dataset):
        if not isinstance(part, InspectableDataset):
            raise DatasetError(
                f'{type(part).__name__}: expected a MultiBandSegDataset or a TorchGeoDataset'
            )
        parts.append(part)
    if len({part.file_classes for part in parts}) > 1:
        listed = ' and '.join(', '.join(part.file_classes) for part in parts)
        raise DatasetError(f'data sets of different classes cannot be combined: {listed}')
    return parts


def _find(name: str, bases: Sequence[str], listing: _Listing) -> tuple[str, str]:
    """Return the path of an image of a list, or an empty string; and the first path it could have.

    Raises:
        RasterError: The name of an array has a wrong form.
    """
    array = parse_array_name(name)
    if array is None and is_virtual(name):  # checked when it is opened
        return name, name
    places = [_normalize((array or ArrayName(name)).inside(base)) for base in bases]
    found = (str(place) for place in places if place.file in listing)
    return next(found, ''), str(places[0])


def _normalize(name: ArrayName) -> ArrayName:
    """Remove ``..`` from the path of a file outside the data root, unless it is a link."""
    plain = os.path.normpath(name.file)
    if '..' not in name.file or not os.path.exists(plain) or not os.path.exists(name.file):
        return name
    return name._replace(file=plain) if os.path.samefile(plain, name.file) else name


class _Listing:
    """Container of existing files that lists each folder once instead of testing each file."""

    def __init__(self) -> None:
        self._folders: dict[str, frozenset[str]] = {}

    def __contains__(self, path: str) -> bool:
        folder, name = os.path.split(path)
        if folder not in self._folders:
            exists = os.path.isdir(folder or '.')
            self._folders[folder] = frozenset(os.listdir(folder or '.') if exists else ())
        return name in self._folders[folder]


def _files_by_stem(folder: str | None, suffix: str | None) -> dict[str, str]:
    if folder is None or not os.path.isdir(folder):
        raise DatasetError(
            f'{folder}: no such folder (data_prefix sets those of images and labels)'
        )
    suffixes = RASTER_SUFFIXES if suffix is None else (suffix.lower(),)
    found: dict[str, str] = {}
    for name in sorted(os.listdir(folder)):
        ending = next((s for s in suffixes if name.lower().endswith(s)), None)
        if name.startswith('.') or ending is None:
            continue
        stem, path = name[: len(name) - len(ending)], os.path.join(folder, name)
        if stem in found:
            raise DatasetError(f'{found[stem]} and {path}: two files with the same name')
        found[stem] = path
    return found


def _insert_selection(pipeline: Sequence, bands: Sequence[str]) -> list:
    """Return a pipeline with ``SelectBands`` behind its loader."""
    if selected_bands(pipeline):
        raise DatasetError('use_bands is set, and the pipeline has SelectBands: remove one of them')
    steps = list(pipeline)
    kinds = [step.get('type') if isinstance(step, Mapping) else None for step in steps]
    loader = next((k for k in ('LoadRasterFromFile', LoadRasterFromFile) if k in kinds), None)
    if loader is None:
        raise DatasetError('use_bands requires LoadRasterFromFile in the pipeline')
    steps.insert(kinds.index(loader) + 1, dict(type='SelectBands', bands=tuple(bands)))
    return steps
