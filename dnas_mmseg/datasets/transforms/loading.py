"""Loading of multi-band images and labels, and selection of bands by name."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from dnas_mmseg.bands import band_names, choose_bands
from dnas_mmseg.datasets.labels import IGNORE, LabelError, read_label
from dnas_mmseg.datasets.tile_cache import load_once
from dnas_mmseg.datasets.tiles import count_once_mask
from dnas_mmseg.errors import UserError
from dnas_mmseg.raster import Raster, RasterInfo, Samples


@TRANSFORMS.register_module()
class LoadRasterFromFile(BaseTransform):
    """Load the bands of an image with samples as stored, and NaN for invalid pixels.

    :class:`dnas_mmseg.raster.Samples` defines validity: nodata values, masks, alpha and non-finite
    samples. An integer image with invalid pixels becomes float32, so that the data preprocessor can
    replace them by the band means; other images keep their type. An alpha band is dropped, unless
    the data set names all bands of the file, alpha included.

    The transform has no arguments, since mmseg's inference replaces it by ``LoadImageFromNDArray``
    for arrays and would pass them on.

    Required keys: ``img_path``. Optional keys: ``bands``, ``nodata`` (of the data set). Added keys:
    ``img`` (H, W, bands), ``img_shape``, ``ori_shape``, ``bands`` (names, if the data set or the
    file has them), ``sample_dtype`` (numpy type of the samples before invalid ones became NaN),
    ``nodata_mask`` (H, W; only if pixels are invalid), and ``loaded`` (for :class:`SelectBands`).
    """

    def transform(self, results: dict) -> dict:
        """Load the image at ``img_path``.

        Raises:
            RasterError: The image cannot be read.
            UserError: The number of bands differs from that of the data set.
        """
        path, nodata = results['img_path'], results.get('nodata')

        def read() -> tuple[RasterInfo, Samples]:
            with Raster(path, nodata) as raster:
                return raster.info, raster.samples(bands=range(raster.info.bands))

        info, samples = load_once(('image', nodata), path, read, _size_of)
        user_bands = band_names(results.get('bands'))
        choice = choose_bands(info.path, info.band_names, user_bands=user_bands)
        set_image(results, samples.select(choice.index), choice.names)
        results['img_shape'] = results['ori_shape'] = info.shape
        results['loaded'] = LoadedImage(samples, info, user_bands, results['img'])
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'


def _size_of(image: tuple[RasterInfo, Samples]) -> int:
    samples = image[1]
    return samples.values.nbytes + samples.values[0].size  # with its validity


class LoadedImage(NamedTuple):
    """Bands of a file, and the image made from them."""

    samples: Samples
    info: RasterInfo
    user_bands: tuple[str, ...]
    image: np.ndarray


@TRANSFORMS.register_module()
class SelectBands(BaseTransform):
    """Select bands by name, in this order.

    Directly after ``LoadRasterFromFile``, only the selected bands determine validity.

    Required keys: ``img``, ``bands``. Modified keys: ``img``, ``bands``, ``sample_dtype``,
    ``nodata_mask``.

    Args:
        bands: Names of the bands to select.
        source: Names of the input's bands, in its order; overrides those of the data set and the
            file. Required if both are missing, as for arrays in mmseg's inference API.

    Example:
        >>> image = np.zeros((8, 8, 3), np.uint16)
        >>> select = SelectBands(bands=('nir', 'red'), source=('red', 'green', 'nir'))
        >>> select(dict(img=image))['img'].shape
        (8, 8, 2)
    """

    def __init__(self, bands: Sequence[str], source: Sequence[str] | None = None) -> None:
        self.bands = band_names(bands)
        self.source = band_names(source)

    def transform(self, results: dict) -> dict:
        """Select the bands.

        Raises:
            UserError: A band is missing, or the band names are unknown.
        """
        loaded = results.pop('loaded', None)
        if loaded is not None and loaded.image is results['img']:
            path, names = loaded.info.path, loaded.info.band_names
            choice = choose_bands(path, names, self.bands, self.source or loaded.user_bands)
            for note in choice.notes:
                warnings.warn(f'SelectBands: {note}', stacklevel=2)
            set_image(results, loaded.samples.select(choice.index), self.bands)
            return results
        names = self.source or band_names(results.get('bands'))
        name = results.get('img_path') or 'the image'
        channels = results['img'].shape[2]
        if len(names) != channels:
            known = f'{len(names)} band names for {channels} bands' if names else 'no band names'
            raise UserError(
                f'{name}: {known}; set them in file order in the metainfo `bands` of the data set '
                'or in `source` of SelectBands'
            )
        unknown = [band for band in self.bands if band not in names]
        if unknown:
            raise UserError(
                f'{name}: no band {", ".join(unknown)} among {", ".join(names)}. If the file uses '
                'other names, set `source` of SelectBands'
            )
        index = [names.index(band) for band in self.bands]
        results['img'] = np.ascontiguousarray(results['img'][..., index])
        results['bands'] = self.bands
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(bands={self.bands})'


def selected_bands(pipeline: Sequence) -> tuple[str, ...]:
    """Return the names of the bands that a pipeline selects; empty for all."""
    steps = [step for step in pipeline if isinstance(step, Mapping)]
    chosen = [step['bands'] for step in steps if step.get('type') in ('SelectBands', SelectBands)]
    return band_names(chosen[-1]) if chosen else ()


def set_image(results: dict, samples: Samples, bands: tuple[str, ...]) -> None:
    """Set image, bands, type and validity of a sample; invalid pixels of its label become 255."""
    results['img'] = np.ascontiguousarray(samples.without_invalid().transpose(1, 2, 0))
    results['bands'] = bands
    results['sample_dtype'] = samples.values.dtype
    results.pop('nodata_mask', None)
    if samples.invalid is not None:
        results['nodata_mask'] = samples.invalid.copy()  # the samples may be kept for later
        if 'gt_seg_map' in results:
            results['gt_seg_map'][samples.invalid] = IGNORE


@TRANSFORMS.register_module()
class LoadRasterAnnotations(BaseTransform):
    """Load a label as train ids, with 255 for unlabelled pixels and invalid pixels of the image.

    Pixels counted in another tile (``count_once`` of the data set) are 255 as well.

    Required keys: ``seg_map_path``, ``label_encoding`` (set by the data set). Optional keys:
    ``label_map`` (train ids of merged classes), ``nodata_mask``, ``overlapping_tiles``. Added keys:
    ``gt_seg_map``, uint8 (H, W).
    """

    def transform(self, results: dict) -> dict:
        """Load the label at ``seg_map_path``.

        Raises:
            LabelError: The label has unknown values, or its size differs from the image.
        """
        path = results['seg_map_path']
        encoding = results['label_encoding']

        def read() -> np.ndarray:
            with Raster(path) as raster:
                return read_label(raster, encoding)

        try:
            kept = load_once(('label', encoding), path, read, lambda label: label.nbytes)
            label = kept.copy()  # changed below and by transforms
        except LabelError as error:
            raise LabelError(f'{path}: {error}') from None
        if 'img' in results and label.shape != results['img'].shape[:2]:
            raise LabelError(
                f'{path}: label of {label.shape} for an image of {results["img"].shape[:2]}'
            )
        if results.get('overlapping_tiles'):
            label[~count_once_mask(label.shape, results['overlapping_tiles'])] = IGNORE
        set_label(results, label)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'


def set_label(results: dict, label: np.ndarray) -> None:
    """Set the label of a sample: merge classes, and set invalid pixels of its image to 255.

    Args:
        results: Results of a pipeline; ``label_map`` and ``nodata_mask`` are optional.
        label: Train ids of the files, uint8 (H, W).
    """
    if results.get('label_map'):
        table = np.arange(IGNORE + 1, dtype=np.uint8)
        for old, new in results['label_map'].items():
            table[old] = new
        label = table[label]
    if results.get('nodata_mask') is not None:
        label[results['nodata_mask']] = IGNORE
    results['gt_seg_map'] = label
    results.setdefault('seg_fields', []).append('gt_seg_map')
