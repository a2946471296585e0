"""Loading of image and mask of a torchgeo sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from dnas_mmseg.raster import GeoReference, RasterInfo

from .loading import LoadedImage, set_image, set_label


@TRANSFORMS.register_module()
class LoadTorchGeoImage(BaseTransform):
    """Load the image of a sample, as :class:`LoadRasterFromFile` loads one from a file.

    Required keys: ``sample_loader``, a function that returns :class:`dnas_mmseg.raster.Samples` and
    train ids, uint8 (H, W) or None (both set by :class:`TorchGeoDataset`); ``img_path``, a name;
    and ``bands``. Removed keys: ``sample_loader``. Added keys: those of ``LoadRasterFromFile``, and
    ``train_ids`` for :class:`LoadTorchGeoMask`.
    """

    def transform(self, results: dict) -> dict:
        """Load the sample.

        Raises:
            DatasetError: The sample cannot be loaded, or has another shape than expected.
        """
        samples, results['train_ids'] = results.pop('sample_loader')()
        bands, shape = results['bands'], samples.values.shape[1:]
        set_image(results, samples, bands)
        results['img_shape'] = results['ori_shape'] = shape
        info = RasterInfo(
            path=results['img_path'],
            height=shape[0],
            width=shape[1],
            dtypes=(samples.values.dtype.name,) * len(bands),
            descriptions=bands,
            colours=('',) * len(bands),
            nodata=samples.nodata,
            has_mask=False,
            georeference=GeoReference(),
        )
        results['loaded'] = LoadedImage(samples, info, (), results['img'])
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'


@TRANSFORMS.register_module()
class LoadTorchGeoMask(BaseTransform):
    """Load the label of a sample, as :class:`LoadRasterAnnotations` loads one from a file.

    Required keys: ``train_ids`` (set by :class:`LoadTorchGeoImage`), which is removed. Optional
    keys: ``label_map``, ``nodata_mask``. Added keys: ``gt_seg_map``, uint8 (H, W).
    """

    def transform(self, results: dict) -> dict:
        """Add the label."""
        set_label(results, results.pop('train_ids'))
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'


_SUBSTITUTES = {
    'LoadRasterFromFile': 'LoadTorchGeoImage',
    'LoadImageFromFile': 'LoadTorchGeoImage',
    'LoadRasterAnnotations': 'LoadTorchGeoMask',
    'LoadAnnotations': 'LoadTorchGeoMask',
}


def substitute_loading(pipeline: Sequence[Any]) -> list[Any]:
    """Return a pipeline that loads samples of torchgeo in place of files.

    ``LoadRasterFromFile`` becomes ``LoadTorchGeoImage``, and ``LoadRasterAnnotations`` becomes
    ``LoadTorchGeoMask``, also inside wrappers such as ``TestTimeAug``. mmseg's loading transforms
    are replaced in the same way, without their arguments.

    Example:
        >>> substitute_loading([dict(type='LoadRasterFromFile'), dict(type='PackSegInputs')])
        [{'type': 'LoadTorchGeoImage'}, {'type': 'PackSegInputs'}]
    """
    result: list[Any] = []
    for step in pipeline:
        if isinstance(step, (list, tuple)):
            result.append(substitute_loading(step))
        elif isinstance(step, Mapping):
            kind = step.get('type')
            name = _SUBSTITUTES.get(getattr(kind, '__name__', str(kind)))
            inside = step.get('transforms')
            if name is not None:
                result.append({'type': name})
            elif isinstance(inside, (list, tuple)):
                result.append({**step, 'transforms': substitute_loading(inside)})
            else:
                result.append(step)
        else:
            result.append(step)
    return result
