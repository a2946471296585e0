"""Data set of tiles of any bands and any classes."""

from __future__ import annotations

import os
import re
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from dnas_mmseg.bands import band_names
from dnas_mmseg.datasets.transforms.loading import LoadRasterAnnotations, selected_bands
from dnas_mmseg.raster import Raster, is_virtual

from .checks import Expectation, inspect_pairs, summarise
from .description import DESCRIPTION_FILE, DatasetDescription, DatasetError
from .labels import IGNORE, LabelEncoding, default_palette
from .list_files import read_lines
from .tiles import MANIFEST, parse_tile_name

_SHOWN = 8


@DATASETS.register_module()
class MultiBandSegDataset(BaseSegDataset):
    """Images of any number of bands with labels of any classes.

    The data are described by ``metainfo`` (``classes``, ``palette``, ``bands`` in file order) and
    by the arguments; what is left out is taken from ``dataset.json`` in ``data_root``, which the
    converters write. The pairs come from a list file, or from two folders.

    The constructor checks the lists, that every file is there, and the first ``check_files`` pairs
    (bands, type, size, label values), so that mistakes show before training.

    Args:
        data_root: Folder of the data; a ``dataset.json`` in it is read.
        ann_file: List file, one ``image<TAB>label`` a line (an image alone where there are no
            labels), relative to ``data_root`` or to the prefixes. Without it, all files of the two
            folders are paired by name.
        data_prefix: Folders of images and labels; with ``seg_map_path=None`` there are images only.
        metainfo: Dictionary with ``classes``, ``palette`` and ``bands``.
        label_convention: Convention of the labels: ``'train_id'`` (0 .. n-1, 255 unlabelled),
            ``'index'`` (1 .. n, 0 unlabelled) or ``'rgb'`` (the palette's colours).
        dtype: Type that the images' samples must have; by default that in ``dataset.json``, else
            any one that all images have.
        nodata: Sample value that is nodata beside what the files declare: a pixel is invalid where
            all bands hold it (0 for black borders without a tag).
        reduce_zero_label: Whether 0 is unlabelled, as mmseg's users write it: ``True`` is
            ``label_convention='index'``.
        img_suffix, seg_map_suffix: Suffixes of the files, where folders are paired.
        check_files: Number of pairs that the constructor opens.
        count_once: Whether a pixel of overlapping tiles ``<scene>_<row>_<column>`` of one scene is
            255 in all but one of them, so that every metric counts each labelled pixel once. By
            default so in evaluation (``test_mode``) of tiles that the converter cut: with a
            ``manifest`` beside them.
        **kwargs: Arguments of :class:`mmseg.datasets.BaseSegDataset`.

    Raises:
        DatasetError: The data are not as described; the message lists what, where and what to do.
    """

    ann_file: str
    data_prefix: dict[str, str | None]

    LABEL_CONVENTION: str | None = None
    """Convention of the labels where neither the arguments nor ``dataset.json`` tell it."""

    def __init__(
        self,
        data_root: str | None = None,
        ann_file: str = '',
        data_prefix: dict = dict(img_path='images', seg_map_path='labels'),  # noqa: B006
        metainfo: dict | None = None,
        label_convention: str | None = None,
        dtype: str | None = None,
        nodata: float | None = None,
        reduce_zero_label: bool = False,
        img_suffix: str = '.tif',
        seg_map_suffix: str = '.png',
        check_files: int = 8,
        count_once: bool | None = None,
        **kwargs,
    ) -> None:
        if data_root is not None and not os.path.isdir(data_root):
            raise DatasetError(f'data_root {data_root}: no such folder')
        self.description = description = DatasetDescription.load(data_root)
        self._check_classes(description, data_root)
        own = {**self.METAINFO, **description.metainfo}
        metainfo = {**own, **(metainfo or {})}
        self.bands = metainfo['bands'] = band_names(metainfo.get('bands'))
        self.file_classes = tuple(own.get('classes') or metainfo.get('classes') or ())
        self.file_palette = tuple(map(tuple, own.get('palette') or metainfo.get('palette') or ()))
        if not self.file_classes:
            raise DatasetError(
                f'the classes are unknown: give metainfo=dict(classes=...), or a '
                f'{DESCRIPTION_FILE} in {data_root}'
            )
        if reduce_zero_label and label_convention not in (None, 'index'):
            raise DatasetError(
                f"reduce_zero_label=True is label_convention='index' (1 .. n, 0 unlabelled), but "
                f"label_convention='{label_convention}' is given too: leave one of them out"
            )
        given = 'index' if reduce_zero_label else label_convention
        said = description.label_convention
        if given and said and given != said:
            raise DatasetError(
                f"{data_root}/{DESCRIPTION_FILE} says label_convention='{said}', the config "
                f"'{given}', perhaps by inheritance: give '{said}' in the config, too, or correct "
                'the file'
            )
        convention = given or said or self.LABEL_CONVENTION
        if convention is None:
            raise DatasetError(
                'label_convention is unknown: give it (train_id, index or rgb), or a '
                f'{DESCRIPTION_FILE} in {data_root}'
            )
        self.labels = LabelEncoding(convention, len(self.file_classes), self.file_palette)
        used = selected_bands(kwargs.get('pipeline', ()))
        unknown = [name for name in used if self.bands and name not in self.bands]
        if unknown:
            raise DatasetError(
                f'SelectBands asks for {", ".join(unknown)}; the bands of the data set are '
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

    @property
    def pairs(self) -> list[tuple[str, str | None]]:
        """Paths of image and label of every sample."""
        infos = (super(MultiBandSegDataset, self).get_data_info(i) for i in range(len(self)))
        return [(info['img_path'], info.get('seg_map_path')) for info in infos]

    def get_data_info(self, idx: int) -> dict:
        """Return a sample's paths, with the facts that the loading transforms need."""
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
        """Return the classes that occur in a tile's label, for mmengine's ``ClassBalancedDataset``.

        Args:
            idx: Index of the tile.
        """
        classes = np.unique(LoadRasterAnnotations()(self.get_data_info(idx))['gt_seg_map'])
        return classes[classes != IGNORE].tolist()

    def get_label_map(self, new_classes: Sequence[str] | None = None) -> dict[int, int] | None:
        """Map the files' train ids to those of the wanted classes; 255 for the others.

        The map is None where the wanted classes are those of the files.
        """
        wanted = tuple(new_classes or self.file_classes)
        if wanted == self.file_classes:
            return None
        unknown = [name for name in wanted if name not in self.file_classes]
        if unknown:
            raise DatasetError(
                f'metainfo classes {", ".join(unknown)} are not among those of the files '
                f'({", ".join(self.file_classes)})'
            )
        return {
            i: wanted.index(name) if name in wanted else IGNORE
            for i, name in enumerate(self.file_classes)
        }

    def select_classes(self, counts: Sequence[Any] | np.ndarray) -> list:
        """Return values per class of the files as values per wanted class, in their order."""
        return [counts[self.file_classes.index(name)] for name in self.metainfo['classes']]

    def _update_palette(self) -> Sequence:
        palette = tuple(map(tuple, self._metainfo.get('palette', ())))
        if not palette:
            return default_palette(len(self._metainfo['classes']))
        if self.label_map is not None and palette == self.file_palette != ():
            return tuple(self.select_classes(palette))
        return super()._update_palette()

    def load_data_list(self) -> list[dict]:
        """Return the paired files, after the checks that are cheap."""
        pairs = self._listed_pairs() if self.ann_file else self._folder_pairs()
        if not pairs:
            where = self.ann_file or self.data_prefix.get('img_path')
            raise DatasetError(
                f'{where}: no files' + ('' if self.ann_file else self._suffix_hint())
            )
        # Statistics make it read the samples, too: a truncated file opens well.
        reports = inspect_pairs(pairs[: self.check_files], self.expected, statistics=True)
        summary = summarise(reports, self.labels)
        for warning in summary.warnings:
            warnings.warn(f'{type(self).__name__}: {warning}', stacklevel=2)
        for note in summary.notes:
            _log_once(f'{type(self).__name__}: {note}', self.data_root)
        _complain(
            f'{type(self).__name__}: problems in the first {min(len(pairs), self.check_files)} of '
            f'{len(pairs)} pairs (`dnas check CONFIG` '
            'looks at all)',
            summary.problems,
        )
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
        """Yield rows and columns from each tile to those that overlap it, in tiles of one size."""
        places = []
        for image, _ in pairs:
            place = parse_tile_name(image)
            if place is None:
                raise DatasetError(
                    f'count_once needs tiles named <scene>_<row>_<column>, {image} is not'
                )
            places.append(place)
        # Tiles in a grid of cells as large as they are: only those of the cells around overlap.
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
            raise DatasetError(
                f'{self.ann_file} is empty: one "image<TAB>label" a line is expected'
            )
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
                places = [os.path.join(base, name.strip()) for base in bases]
                # Whether GDAL's own paths lead anywhere, it says when they are opened.
                virtual = name.strip() if is_virtual(name.strip()) else None
                found = virtual or next((place for place in places if place in listing), '')
                if not found:
                    problems.append(f'{self.ann_file}:{number}: {kind} {places[0]} does not exist')
                pair.append(found)
            pairs.append((pair[0], pair[1] if labelled else None))
        _complain(f'{self.ann_file} cannot be used', problems)
        return pairs

    def _folder_pairs(self) -> list[tuple[str, str | None]]:
        images = _files_by_stem(self.data_prefix.get('img_path'), self.img_suffix)
        label_folder = self.data_prefix.get('seg_map_path')
        if label_folder is None:
            return [(path, None) for path in images.values()]
        labels = _files_by_stem(label_folder, self.seg_map_suffix)
        problems = [f'{images[s]}: image without label' for s in images if s not in labels]
        problems += [f'{labels[s]}: label without image' for s in labels if s not in images]
        _complain('images and labels do not match', problems)
        return [(path, labels[stem]) for stem, path in images.items()]

    def _suffix_hint(self) -> str:
        return f" with suffix '{self.img_suffix}' (img_suffix says which)"

    def _check_classes(self, description: DatasetDescription, root: str | None) -> None:
        own = tuple(self.METAINFO.get('classes', ()))
        if own and description.classes and description.classes != own:
            raise DatasetError(
                f'{root}/{DESCRIPTION_FILE} has the classes {", ".join(description.classes)}; '
                f'{type(self).__name__} has {", ".join(own)}. Use MultiBandSegDataset.'
            )


def dataset_parts(dataset: Any) -> Iterator[Any]:
    """Yield the data sets inside all wrappers (Concat, Repeat, ...)."""
    inside = getattr(dataset, 'datasets', None) or getattr(dataset, 'dataset', None)
    if inside is None:
        yield dataset
        return
    for child in inside if isinstance(inside, (list, tuple)) else (inside,):
        yield from dataset_parts(child)


def multi_band_parts(dataset: object) -> list[MultiBandSegDataset]:
    """Return the data sets of this project inside all wrappers (Concat, Repeat, ...).

    Raises:
        DatasetError: A data set is of another kind, or they have different classes.
    """
    parts: list[MultiBandSegDataset] = []
    for part in dataset_parts(dataset):
        if not isinstance(part, MultiBandSegDataset):
            raise DatasetError(f'{type(part).__name__}: a MultiBandSegDataset is needed')
        parts.append(part)
    if len({part.file_classes for part in parts}) > 1:
        listed = ' and '.join(', '.join(part.file_classes) for part in parts)
        raise DatasetError(f'data sets of different classes cannot be summed up: {listed}')
    return parts


_logged: set[tuple[str | None, str]] = set()


def _log_once(note: str, data_root: str | None) -> None:
    """Log a note once in a process, though the data are built for several purposes."""
    kind = re.sub(r'\S+\.\w+|\(and \d+ more files\)', '', note)  # whichever file it is about
    if (data_root, kind) not in _logged:
        _logged.add((data_root, kind))
        print_log(note, logger='current')


class _Listing:
    """Container of existing files: it lists a folder once instead of looking for each file."""

    def __init__(self) -> None:
        self._folders: dict[str, frozenset[str]] = {}

    def __contains__(self, path: str) -> bool:
        folder, name = os.path.split(path)
        if folder not in self._folders:
            exists = os.path.isdir(folder or '.')
            self._folders[folder] = frozenset(os.listdir(folder or '.') if exists else ())
        return name in self._folders[folder]


def _files_by_stem(folder: str | None, suffix: str) -> dict[str, str]:
    if folder is None or not os.path.isdir(folder):
        raise DatasetError(
            f'{folder}: no such folder (data_prefix says where images and labels are)'
        )
    found: dict[str, str] = {}
    for name in sorted(os.listdir(folder)):
        if name.startswith('.') or not name.lower().endswith(suffix.lower()):
            continue
        stem, path = name[: len(name) - len(suffix)], os.path.join(folder, name)
        if stem in found:
            raise DatasetError(f'{found[stem]} and {path}: two files of one name')
        found[stem] = path
    return found


def _complain(title: str, problems: Sequence[str]) -> None:
    if problems:
        shown = [f'  - {problem}' for problem in problems[:_SHOWN]]
        if len(problems) > _SHOWN:
            shown.append(f'  ... and {len(problems) - _SHOWN} more')
        raise DatasetError('\n'.join([f'{title}:', *shown]))
