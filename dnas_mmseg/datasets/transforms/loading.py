"""Loading of exact multi-band images and their labels, and choice of bands by name."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from dnas_mmseg.bands import band_names, choose_bands
from dnas_mmseg.datasets.labels import IGNORE, LabelError, read_label
from dnas_mmseg.datasets.tiles import count_once_mask
from dnas_mmseg.errors import UserError
from dnas_mmseg.raster import Raster, RasterInfo, Samples


@TRANSFORMS.register_module()
class LoadRasterFromFile(BaseTransform):
    """Load the bands of an image, samples as stored, with NaN where a pixel is invalid.

    :class:`dnas_mmseg.raster.Samples` defines which pixels are valid: by nodata values, masks,
    alpha and what is not finite. An image of whole numbers that has invalid pixels becomes float32,
    so that the data preprocessor makes the bands' means of them; others keep their type. An alpha
    band is no band of the image, unless the data set names as many bands as the file has with it.

    It has no arguments: mmseg's inference turns it into ``LoadImageFromNDArray`` for arrays and
    would pass them on.

    Required keys: ``img_path``. Optional: ``bands`` and ``nodata``, of the data set. Added keys:
    ``img`` (H, W, bands), ``img_shape``, ``ori_shape``, ``bands`` (names, where the data set or the
    file tells them), ``nodata_mask`` (H, W) where pixels are invalid, and ``loaded`` (what
    :class:`SelectBands` needs to know which pixels of its bands are valid).
    """

    def transform(self, results: dict) -> dict:
        """Load the image at ``img_path``.

        Raises:
            RasterError: The image cannot be read.
            UserError: The data set names another number of bands.
        """
        with Raster(results['img_path'], results.get('nodata')) as raster:
            info, samples = raster.info, raster.samples(bands=range(raster.info.bands))
        user_bands = band_names(results.get('bands'))
        choice = choose_bands(info.path, info.band_names, user_bands=user_bands)
        _set_image(results, samples.select(choice.index), choice.names)
        results['img_shape'] = results['ori_shape'] = info.shape
        results['loaded'] = _Loaded(samples, info, user_bands, results['img'])
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'


class _Loaded(NamedTuple):
    """Bands of a file, and the image that was made of them."""

    samples: Samples
    info: RasterInfo
    user_bands: tuple[str, ...]
    image: np.ndarray


@TRANSFORMS.register_module()
class SelectBands(BaseTransform):
    """Keep the named bands, in the named order.

    These bands alone then determine which pixels are valid, if the transform stands right behind
    ``LoadRasterFromFile``.

    Required keys: ``img``, ``bands``. Modified keys: ``img``, ``bands``, ``nodata_mask``.

    Args:
        bands: Names of the wanted bands.
        source: Names of the input's bands in its order, where neither the data set nor the file's
            band descriptions tell (an array handed to the inference API), or tell otherwise.
    """

    def __init__(self, bands: Sequence[str], source: Sequence[str] | None = None) -> None:
        self.bands = band_names(bands)
        self.source = band_names(source)

    def transform(self, results: dict) -> dict:
        """Select the bands.

        Raises:
            UserError: A band is not there, or the names of the bands are unknown.
        """
        loaded = results.pop('loaded', None)
        if loaded is not None and loaded.image is results['img']:
            path, names = loaded.info.path, loaded.info.band_names
            choice = choose_bands(path, names, self.bands, self.source or loaded.user_bands)
            for note in choice.notes:
                warnings.warn(f'SelectBands: {note}', stacklevel=2)
            _set_image(results, loaded.samples.select(choice.index), self.bands)
            return results
        have = self.source or band_names(results.get('bands'))
        name = results.get('img_path') or 'the image'
        channels = results['img'].shape[2]
        if len(have) != channels:
            known = f'{len(have)} band names for {channels} bands' if have else 'no band names'
            raise UserError(
                f'{name}: {known}; give them in file order in the metainfo `bands` of the data set '
                'or in `source` of SelectBands'
            )
        unknown = [band for band in self.bands if band not in have]
        if unknown:
            raise UserError(
                f'{name}: no band {", ".join(unknown)}; there are {", ".join(have)}. Where the '
                'file describes its bands by other names, `source` of SelectBands says them'
            )
        index = [have.index(band) for band in self.bands]
        results['img'] = np.ascontiguousarray(results['img'][..., index])
        results['bands'] = self.bands
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(bands={self.bands})'


def selected_bands(pipeline: Sequence) -> tuple[str, ...]:
    """Return the names of the bands that a pipeline selects; empty where it takes all."""
    steps = [step for step in pipeline if isinstance(step, Mapping)]
    chosen = [step['bands'] for step in steps if step.get('type') in ('SelectBands', SelectBands)]
    return band_names(chosen[-1]) if chosen else ()


def _set_image(results: dict, samples: Samples, bands: tuple[str, ...]) -> None:
    results['img'] = np.ascontiguousarray(samples.without_invalid().transpose(1, 2, 0))
    results['bands'] = bands
    results.pop('nodata_mask', None)
    if samples.invalid is not None:
        results['nodata_mask'] = samples.invalid
        if 'gt_seg_map' in results:
            results['gt_seg_map'][samples.invalid] = IGNORE


@TRANSFORMS.register_module()
class LoadRasterAnnotations(BaseTransform):
    """Load a label as train ids, with 255 where there is no label or the image has no data.

    A pixel that counts in another tile (``count_once`` of the data set) is 255, too.

    Required keys: ``seg_map_path``, ``label_encoding`` (the data set gives it). Optional:
    ``label_map`` (merging of classes), ``nodata_mask``, ``overlapping_tiles``. Added keys:
    ``gt_seg_map`` uint8 (H, W).
    """

    def transform(self, results: dict) -> dict:
        """Load the label at ``seg_map_path``.

        Raises:
            LabelError: The label has unknown values, or another size than the image.
        """
        path = results['seg_map_path']
        try:
            with Raster(path) as raster:
                label = read_label(raster, results['label_encoding'])
        except LabelError as error:
            raise LabelError(f'{path}: {error}') from None
        if 'img' in results and label.shape != results['img'].shape[:2]:
            raise LabelError(
                f'{path}: label of {label.shape} for an image of {results["img"].shape[:2]}'
            )
        if results.get('label_map'):
            table = np.arange(IGNORE + 1, dtype=np.uint8)
            for old, new in results['label_map'].items():
                table[old] = new
            label = table[label]
        if results.get('nodata_mask') is not None:
            label[results['nodata_mask']] = IGNORE
        if results.get('overlapping_tiles'):
            label[~count_once_mask(label.shape, results['overlapping_tiles'])] = IGNORE
        results['gt_seg_map'] = label
        results.setdefault('seg_fields', []).append('gt_seg_map')
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'
