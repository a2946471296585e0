"""Mixing of labelled images (ClassMix)."""

from __future__ import annotations

from collections.abc import Sequence, Sized

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from dnas_mmseg.datasets.labels import IGNORE


@TRANSFORMS.register_module()
class RandomClassMix(BaseTransform):
    """Paste the pixels of half the classes of another image, with their labels (ClassMix).

    Use it in the pipeline of mmseg's ``MultiImageMixDataset``, with an inner data set that yields
    crops of one size. Pixels are pasted at their position; unlabelled pixels are not pasted.

    Source: Olsson et al., WACV 2021, section 3.2, applied to labelled images.

    Required keys: ``img`` (H, W, bands), ``gt_seg_map`` (H, W), ``mix_results``. Modified keys:
    ``img``, ``gt_seg_map``.

    Args:
        prob: Probability of pasting into an image.
    """

    def __init__(self, prob: float = 0.5) -> None:
        self.prob = prob

    def get_indices(self, dataset: Sized) -> Sequence[int]:
        """Sample the index of the other image."""
        return [int(np.random.randint(len(dataset)))]

    def transform(self, results: dict) -> dict:
        """Paste classes of the other image with probability ``prob``.

        Raises:
            ValueError: The images have different sizes.
        """
        (other,) = results['mix_results']
        label, pasted = results['gt_seg_map'], other['gt_seg_map']
        if label.shape != pasted.shape:
            raise ValueError(
                f'RandomClassMix: images of {label.shape} and {pasted.shape} have different sizes; '
                'put RandomCrop into the pipeline of the inner data set'
            )
        classes = np.unique(pasted[pasted != IGNORE])
        if np.random.rand() >= self.prob or not len(classes):
            return results
        chosen = np.random.choice(classes, (len(classes) + 1) // 2, replace=False)
        mask = np.isin(pasted, chosen)
        results['gt_seg_map'] = np.where(mask, pasted, label)
        results['img'] = np.where(mask[..., None], other['img'], results['img'])
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(prob={self.prob})'
