"""Data sets of torchgeo."""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from mmseg.registry import DATASETS
from torch.utils.data import DataLoader, Dataset

from dnas_mmseg.bands import band_names
from dnas_mmseg.errors import did_you_mean
from dnas_mmseg.raster import Samples

from .base import InspectableDataset
from .checks import PairReport, band_sums
from .description import DatasetDescription, DatasetError
from .labels import IGNORE, LabelEncoding, LabelError
from .torchgeo_metadata import (
    import_torchgeo,
    known_bands,
    known_encoding,
    known_palette,
    one_line,
)
from .transforms.loading import selected_bands
from .transforms.torchgeo import LoadTorchGeoImage, LoadTorchGeoMask, substitute_loading

_FIRST = {'train_id': 0, 'index': 1}
"""Value of the first class by label convention."""

_UNLABELLED = {'train_id': IGNORE, 'index': 0}
"""Value of unlabelled pixels by label convention."""


@DATASETS.register_module()
class TorchGeoDataset(InspectableDataset):
    """Data set of torchgeo for semantic segmentation.

    Supports the subclasses of ``torchgeo.datasets.NonGeoDataset`` with samples of an ``image``,
    (bands, H, W), and a ``mask``, (H, W) or (1, H, W). Data must be on disk: nothing is downloaded,
    unless ``dataset_args`` contains ``download=True``.

    The data set replaces the loading transforms of ``pipeline``: ``LoadRasterFromFile`` becomes
    :class:`LoadTorchGeoImage`, and ``LoadRasterAnnotations`` becomes :class:`LoadTorchGeoMask`
    (:func:`substitute_loading`). All other transforms, ``SelectBands`` included, apply as they do
    to files. Images have the type that torchgeo returns, mostly float32; integers other than uint8,
    uint16 and int16 become float32. ``img_path`` is a name, ``<dataset>-<split>-<index>``.

    Args:
        dataset: Name of a class in ``torchgeo.datasets``.
        root: Folder of the data, torchgeo's ``root``.
        split: Split, for data sets with splits.
        bands: Names of the bands of an image; defaults to ``metainfo['bands']``, then to those of
            the torchgeo class (``bands``, ``all_bands``, ``rgb_bands``).
        ignore_index: Values of the masks that mean unlabelled. If one is the value of a class, the
            class is removed, and those after it are renumbered.
        label_convention: ``'train_id'`` (0 .. n-1, 255 unlabelled) or ``'index'`` (1 .. n, 0
            unlabelled) for the masks; defaults to ``'train_id'``, except for data sets whose masks
            are known to differ (LoveDA).
        dataset_args: Other arguments of the torchgeo class, such as ``bands`` or ``download``.
        metainfo: Dictionary with ``classes`` and ``palette``; they default to those of the torchgeo
            class. If it has classes, those of ``metainfo`` select from them.
        nodata: Value that all bands of invalid pixels have.
        check_files: Number of samples to check in the constructor.
        data_root: Same as ``root``; takes precedence (set by ``--data-root``).
        pipeline: Transforms of a sample, as for files.
        **kwargs: Arguments of :class:`mmseg.datasets.BaseSegDataset`.

    Raises:
        DatasetError: torchgeo is not installed, the name is unknown, the data are missing, samples
            have no mask although the pipeline loads labels, bands or classes are unknown, or mask
            values are not classes.

    Example:
        >>> dataset = TorchGeoDataset(  # doctest: +SKIP
        ...     'LoveDA', root='data/loveda', split='train', pipeline=[
        ...         dict(type='LoadRasterFromFile'), dict(type='LoadRasterAnnotations'),
        ...     ],
        ... )
        >>> dataset[0]['img'].shape, dataset.metainfo['bands']  # doctest: +SKIP
        ((1024, 1024, 3), ('red', 'green', 'blue'))
    """

    def __init__(
        self,
        dataset: str,
        root: str | None = None,
        split: str | None = None,
        bands: Sequence[str] | None = None,
        ignore_index: int | Sequence[int] | None = None,
        label_convention: str | None = None,
        dataset_args: Mapping[str, Any] | None = None,
        metainfo: dict | None = None,
        nodata: float | None = None,
        check_files: int = 8,
        data_root: str | None = None,
        pipeline: Sequence = (),
        **kwargs,
    ) -> None:
        self.description = DatasetDescription()
        self.name = '-'.join(filter(None, (dataset, split)))
        self.nodata, self.check_files = nodata, check_files
        arguments = dict(dataset_args or {})
        for key, value in (('root', data_root or root), ('split', split)):
            if value is not None:
                arguments[key] = value
        self.source = _build(dataset, arguments)
        if not len(self.source):
            raise DatasetError(f'{self.name}: no samples in {arguments.get("root")}')
        metainfo = dict(metainfo or {})
        image, _ = self._read(0)
        self.bands = band_names(bands or metainfo.get('bands'))
        if not self.bands:
            self.bands = known_bands(dataset, self.source, len(image))
        self._check_shape(image, 0)
        self.used_bands = self._select_bands(pipeline)
        self.ignored = tuple(np.atleast_1d([] if ignore_index is None else ignore_index).tolist())
        metainfo.update(self._set_classes(dataset, metainfo, label_convention), bands=self.bands)
        pipeline = substitute_loading(pipeline)
        steps = _transform_names(pipeline)
        if steps and 'LoadTorchGeoImage' not in steps:
            raise DatasetError(
                f'{dataset}: the pipeline loads no image: it must start with '
                "dict(type='LoadRasterFromFile'), which this data set replaces"
            )
        self._loads_masks = 'LoadTorchGeoMask' in steps
        super().__init__(
            data_root=arguments.get('root'), metainfo=metainfo, pipeline=pipeline, **kwargs
        )

    def _select_bands(self, pipeline: Sequence) -> tuple[str, ...]:
        used = selected_bands(pipeline)
        unknown = [name for name in used if name not in self.bands]
        if unknown:
            raise DatasetError(
                f'SelectBands: no band {", ".join(unknown)} among those of the data set, '
                f'{", ".join(self.bands)}'
            )
        return used or self.bands

    def _set_classes(
        self, dataset: str, metainfo: Mapping[str, Any], convention: str | None
    ) -> dict[str, Any]:
        """Set the classes and the encoding of the masks; return classes and palette to use."""
        known, default = known_encoding(dataset, self.source)
        wanted = tuple(metainfo.get('classes') or ())
        names = known or wanted
        if not names:
            raise DatasetError(
                f'{dataset}: the classes are unknown; set metainfo=dict(classes=(...)), in the '
                'order of the mask values'
            )
        convention = convention or default
        if convention not in _FIRST:
            raise DatasetError(
                f"label_convention='{convention}': masks contain indices; choose 'train_id' (0 .. "
                "n-1, 255 unlabelled) or 'index' (1 .. n, 0 unlabelled)"
            )
        palette = tuple(map(tuple, metainfo.get('palette') or ()))
        stored = (not (known and wanted) and palette) or known_palette(self.source, len(names))
        if stored and len(stored) != len(names):
            raise DatasetError(
                f'{dataset}: {len(stored)} colours in the palette, {len(names)} classes'
            )
        values = range(_FIRST[convention], _FIRST[convention] + len(names))
        labelled = [i for i, value in enumerate(values) if value not in self.ignored]
        codes = dict.fromkeys((_UNLABELLED[convention], *self.ignored), IGNORE)
        codes |= {values[i]: number for number, i in enumerate(labelled)}
        self.file_classes = tuple(names[i] for i in labelled)
        self.file_palette = tuple(stored[i] for i in labelled) if stored else ()
        self.labels = LabelEncoding(convention, len(labelled))
        self._encoding = LabelEncoding('values', len(labelled), values=tuple(codes.items()))
        if known and wanted:
            return dict(classes=wanted, palette=palette or self.file_palette)
        return dict(classes=self.file_classes, palette=self.file_palette)

    @property
    def origin(self) -> str:
        """Name of the data set and its split."""
        return self.name

    def load_data_list(self) -> list[dict]:
        """Return name and index of each sample, after checking the first ones."""
        number = len(self.source)
        reports = self._inspect(range(min(number, self.check_files)), True, 0, iter)
        self._check_reports(reports, f'{number} samples')
        return [{'img_path': f'{self.name}-{i}', 'index': i} for i in range(number)]

    def get_data_info(self, idx: int) -> dict:
        """Return a sample's name and the function that loads it, for the loading transforms."""
        info = super().get_data_info(idx)
        info.update(
            sample_loader=partial(self.load_sample, info.pop('index')),
            bands=self.bands,
            label_map=self.label_map,
            reduce_zero_label=False,
            seg_fields=[],
        )
        return info

    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the classes in a sample's mask, for mmengine's ``ClassBalancedDataset``."""
        results = LoadTorchGeoMask()(LoadTorchGeoImage()(self.get_data_info(idx)))
        classes = np.unique(results['gt_seg_map'])
        return classes[classes != IGNORE].tolist()

    def load_sample(self, index: int) -> tuple[Samples, np.ndarray | None]:
        """Load a sample.

        Args:
            index: Index in the torchgeo data set.

        Returns:
            Samples of the image, and its train ids, uint8 (H, W); None without a mask.

        Raises:
            DatasetError: torchgeo cannot load the sample, or its image or mask has a wrong shape.
            LabelError: The mask has unknown values.
        """
        image, mask = self._read(index)
        self._check_shape(image, index)
        samples = Samples(image, (None,) * len(image), user_nodata=self.nodata)
        return samples, None if mask is None else self._encode(mask, index)

    def read_image(self, img_path: str) -> np.ndarray | None:
        """Return the image of a sample's name, (bands, H, W); None for other names."""
        name, _, index = img_path.rpartition('-')
        return self._read(int(index))[0] if name == self.name and index.isdecimal() else None

    def inspect(
        self,
        *,
        statistics: bool = False,
        workers: int = 0,
        track: Callable[[Iterable], Iterable] = iter,
    ) -> Iterator[PairReport]:
        """Yield a report on each sample, in order; the first one notes what cannot be checked."""
        indices = [super(TorchGeoDataset, self).get_data_info(i)['index'] for i in range(len(self))]
        for place, report in enumerate(self._inspect(indices, statistics, workers, track)):
            if place == 0:
                report.notes.append(
                    f'{self.name}: torchgeo decodes the files; their nodata tags, masks and '
                    'georeference are not checked'
                )
            yield report

    def _inspect(
        self,
        indices: Sequence[int],
        statistics: bool,
        workers: int,
        track: Callable[[Iterable], Iterable],
    ) -> Iterator[PairReport]:
        reports = _Reports(self, indices, statistics)
        yield from track(DataLoader(reports, batch_size=None, num_workers=workers))

    def _read(self, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Return image, (bands, H, W), and mask, (H, W), as torchgeo loads them."""
        name = f'{self.name}-{index}'
        try:
            sample = self.source[index]
        except Exception as error:  # whatever the code of the data set raises
            raise DatasetError(f'{name}: torchgeo cannot load it: {one_line(error)}') from error
        if not isinstance(sample, Mapping) or 'image' not in sample:
            keys = ', '.join(sample) if isinstance(sample, Mapping) else type(sample).__name__
            raise DatasetError(f'{name}: the sample has no image; it contains {keys}')
        image, mask = np.asarray(sample['image']), sample.get('mask')
        if image.ndim != 3:
            raise DatasetError(
                f'{name}: an image of shape {image.shape}; expected (bands, height, width)'
            )
        if image.dtype.kind in 'biu' and image.dtype.name not in ('uint8', 'uint16', 'int16'):
            image = image.astype(np.float32)
        if mask is None:
            return image, None
        mask = np.asarray(mask)
        if mask.ndim == 3 and mask.shape[0] == 1:
            mask = mask[0]
        if mask.shape != image.shape[1:]:
            raise DatasetError(
                f'{name}: a mask of shape {mask.shape} for an image of {image.shape[1:]}; expected '
                '(height, width) or (1, height, width)'
            )
        return image, mask

    def _check_shape(self, image: np.ndarray, index: int) -> None:
        if len(image) != len(self.bands):
            raise DatasetError(
                f'{self.name}-{index}: {len(image)} bands, expected {len(self.bands)} '
                f'({", ".join(self.bands)}); set bands=(...), in the order of the image'
            )

    def _encode(self, mask: np.ndarray, index: int) -> np.ndarray:
        values = mask.astype(np.uint8) if mask.dtype.kind == 'b' else mask
        ids, unknown = self._encoding.encode_known(values[None])
        if unknown:
            shown = ', '.join(f'{value} ({n} pixels)' for value, n in unknown.most_common(5))
            classes = [
                f'{value} {self.file_classes[i]}'
                for value, i in self._encoding.codes.items()
                if i != IGNORE
            ]
            raise LabelError(
                f'{self.name}-{index}: mask values {shown} are not classes; classes are '
                f'{", ".join(classes)}, and {_UNLABELLED[self.labels.convention]} is unlabelled. '
                'Set ignore_index, label_convention, or metainfo=dict(classes=...)'
            )
        return ids

    def report(self, index: int, statistics: bool) -> PairReport:
        """Return the report on a sample; errors in it are reported, not raised."""
        report = PairReport(image=f'{self.name}-{index}')
        try:
            image, mask = self._read(index)
            self._check_shape(image, index)
            used = [self.bands.index(name) for name in self.used_bands]
            samples = Samples(image[used], (None,) * len(used), user_nodata=self.nodata)
            report.shape, report.dtype = image.shape[1:], image.dtype.name
            report.bands, invalid = len(used), samples.invalid
            report.invalid = 0 if invalid is None else int(invalid.sum())
            if statistics:
                sums = band_sums(samples.values, invalid)
                report.pixels, report.totals, report.squares = sums
                content = np.ascontiguousarray(samples.values).data
                report.digest = hashlib.blake2b(content, digest_size=16).digest()
            if mask is None:
                if self._loads_masks:
                    report.problems.append(
                        f'{report.image}: the sample has no mask, so {self.name} is not a data set '
                        'for segmentation, or this split has no labels'
                    )
                return report
            if not self.ignored:
                report.values = {int(value) for value in np.unique(mask[np.isfinite(mask)])}
            ids = self._encode(mask, index)
            counts = np.bincount(
                (ids if invalid is None else ids[~invalid]).ravel(), minlength=IGNORE + 1
            )
            report.class_pixels = counts[: self.labels.num_classes]
        except (DatasetError, LabelError) as error:
            report.problems.append(str(error))
        return report


class _Reports(Dataset):
    """Reports on samples, for the workers of a data loader."""

    def __init__(self, dataset: TorchGeoDataset, indices: Sequence[int], statistics: bool) -> None:
        self.dataset, self.indices, self.statistics = dataset, indices, statistics

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: int) -> PairReport:
        return self.dataset.report(self.indices[place], self.statistics)


def _build(name: str, arguments: dict[str, Any]) -> Any:
    """Build a data set of torchgeo.

    Raises:
        DatasetError: torchgeo is not installed; the name, the split or an argument is unknown; the
            class is no ``NonGeoDataset``; or torchgeo raises an error, such as missing data.
    """
    module = import_torchgeo('torchgeo.datasets', 'TorchGeoDataset')
    classes = {key: value for key, value in vars(module).items() if inspect.isclass(value)}
    base = module.NonGeoDataset
    cls = classes.get(name)
    if cls is None:
        known = [key for key, value in classes.items() if issubclass(value, base)]
        raise DatasetError(f'torchgeo.datasets has no {name}{did_you_mean(name, known, 3)}')
    if not issubclass(cls, base):
        reason = (
            'its samples are cut from rasters by a sampler; write them as tiles by '
            'dnas_mmseg.apis.cut_geo_dataset and use MultiBandSegDataset'
            if issubclass(cls, module.GeoDataset)
            else 'it is not a data set'
        )
        raise DatasetError(f'{name} is not a NonGeoDataset of torchgeo: {reason}')
    accepted = list(inspect.signature(cls).parameters)
    for key in arguments:
        if key not in accepted:
            raise DatasetError(
                f'{name} of torchgeo has no argument {key}{did_you_mean(key, accepted)}; it '
                f'accepts {", ".join(accepted)}'
            )
    splits = getattr(cls, 'splits', None)
    split = arguments.get('split')
    if split is not None and isinstance(splits, (tuple, list, dict)) and split not in splits:
        raise DatasetError(f'{name} has no split {split}; it has {", ".join(map(str, splits))}')
    root = arguments.get('root')
    if root is not None and not arguments.get('download') and not os.path.isdir(root):
        raise DatasetError(f'{name}: root {root}: no such folder')
    try:
        return cls(**arguments)
    except Exception as error:  # whatever the code of the data set raises
        raise DatasetError(f'{name} of torchgeo: {one_line(error)}') from error


def _transform_names(pipeline: Sequence) -> set[str]:
    """Return the names of the transforms of a pipeline, also inside wrappers."""
    names: set[str] = set()
    for step in pipeline:
        if isinstance(step, (list, tuple)):
            names |= _transform_names(step)
        elif isinstance(step, Mapping):
            names |= {str(step.get('type'))} | _transform_names(step.get('transforms') or ())
    return names
