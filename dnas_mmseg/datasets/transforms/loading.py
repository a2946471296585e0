"""Loading exact multi-band images and their labels, and choosing bands by name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from dnas_mmseg.errors import UserError
from dnas_mmseg.raster import Raster, band_names, nodata_mask, read_raster

from ..labels import IGNORE, LabelError
from ..tiling import counted_here


@TRANSFORMS.register_module()
class LoadRasterFromFile(BaseTransform):
    """Load all bands of an image, samples as stored.

    It has no arguments: mmseg's inference turns it into ``LoadImageFromNDArray`` for arrays and
    would hand them on.

    Required keys: ``img_path``. Added keys: ``img`` (H, W, bands) in the stored dtype,
    ``img_shape``, ``ori_shape``, ``bands`` (names, where the data set or the file tells them), and
    ``nodata_mask`` (H, W) where samples are missing; floating-point samples are NaN there.
    """

    def transform(self, results: dict) -> dict:
        """Load the image at ``img_path``."""
        with Raster(results['img_path']) as raster:
            info, samples = raster.info, raster.read()
        missing = nodata_mask(samples, info.nodata)
        if missing is not None:
            results['nodata_mask'] = missing
            if np.issubdtype(samples.dtype, np.floating):
                samples[:, missing] = np.nan
        results['img'] = np.ascontiguousarray(samples.transpose(1, 2, 0))
        results['img_shape'] = results['ori_shape'] = info.shape
        if not results.get('bands'):
            results['bands'] = info.names
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'


@TRANSFORMS.register_module()
class SelectBands(BaseTransform):
    """Keep the named bands, in the named order.

    Required keys: ``img``, ``bands``. Modified keys: ``img``, ``bands``.

    Args:
        bands: The bands wanted.
        source: The input's bands in its order, where neither the data set nor the file's band
            descriptions tell (an array handed to the inference API), or tell otherwise.
    """

    def __init__(self, bands: Sequence[str], source: Sequence[str] | None = None) -> None:
        self.bands = band_names(bands)
        self.source = band_names(source)

    def transform(self, results: dict) -> dict:
        """Select the bands.

        Raises:
            UserError: A band is not there, or nobody said what the bands are.
        """
        have = self.source or band_names(results.get('bands'))
        name = results.get('img_path') or 'the image'
        channels = results['img'].shape[2]
        if len(have) != channels:
            told = f'{len(have)} band names for {channels} bands' if have else 'no band names'
            raise UserError(
                f'{name}: {told}; say them in file order in the metainfo `bands` of the data set '
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


@TRANSFORMS.register_module()
class LoadRasterAnnotations(BaseTransform):
    """Load a label as train ids, with 255 where there is no label or the image has no data.

    Also where a pixel counts in another tile (``count_once`` of the data set).

    Required keys: ``seg_map_path``, ``label_encoding`` (the data set gives it). Optional:
    ``label_map`` (merging of classes), ``nodata_mask``, ``overlapping_tiles``. Added keys:
    ``gt_seg_map`` uint8 (H, W).
    """

    def transform(self, results: dict) -> dict:
        """Load the label at ``seg_map_path``.

        Raises:
            LabelError: Unknown values, or another size than the image.
        """
        path = results['seg_map_path']
        try:
            label = results['label_encoding'].encode(read_raster(path))
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
            label[~counted_here(label.shape, results['overlapping_tiles'])] = IGNORE
        results['gt_seg_map'] = label
        results.setdefault('seg_fields', []).append('gt_seg_map')
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'
