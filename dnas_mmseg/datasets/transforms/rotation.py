"""Rotation of images of any bands and type together with their labels."""

from __future__ import annotations

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from dnas_mmseg.datasets.labels import IGNORE


@TRANSFORMS.register_module()
class MultiBandRandomRotate(BaseTransform):
    """Turn image and labels about the centre by a random angle; sizes stay.

    mmseg's ``RandomRotFlip`` interpolates labels, so that classes appear that nobody drew, and
    calls the corners class 0. Here labels are taken from the nearest pixel, and what comes from
    outside the image is 255 in them and NaN in the image, which the data preprocessor makes the
    bands' means. An image of whole numbers becomes float32 by that, in its own units. Samples are
    interpolated between the valid ones, so that the image is valid where its nearest pixel was: NaN
    does not spread, and image and labels end at the same pixel.

    Required keys: ``img`` (H, W, bands). Modified keys: ``img`` and all of ``seg_fields``.

    Args:
        prob: Probability that an image is turned.
        degree: Largest angle to either side, in degrees; or smallest and largest.
    """

    def __init__(self, prob: float = 0.5, degree: float | tuple[float, float] = 20.0) -> None:
        self.prob = prob
        low, high = (-degree, degree) if isinstance(degree, (int, float)) else degree
        self.degree = (low, high)

    def transform(self, results: dict) -> dict:
        """Turn the image and its labels, or leave both."""
        if np.random.rand() >= self.prob:
            return results
        angle = np.random.uniform(*self.degree)
        height, width = results['img'].shape[:2]
        centre = ((width - 1) / 2, (height - 1) / 2)
        matrix = cv2.getRotationMatrix2D(centre, angle, 1.0)
        results['img'] = _turn_image(results['img'], matrix)
        for key in results.get('seg_fields', ()):
            turned = _turn(results[key], matrix, cv2.INTER_NEAREST, IGNORE)
            results[key] = turned.astype(results[key].dtype, copy=False)  # int64 comes out as int32
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(prob={self.prob}, degree={self.degree})'


def _turn_image(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Turn (H, W, bands) band by band: some of OpenCV takes four at most."""
    image = image.astype(np.result_type(image.dtype, np.float32))
    everywhere = _turn_mask(np.ones(image.shape[:2], bool), matrix)
    turned = np.empty_like(image)
    for band in range(image.shape[2]):
        plane = image[..., band]
        valid = np.isfinite(plane)
        weights, inside = everywhere if valid.all() else _turn_mask(valid, matrix)
        sums = _turn(np.where(valid, plane, 0), matrix, cv2.INTER_LINEAR, 0)
        turned[..., band] = np.divide(sums, weights, out=np.full_like(sums, np.nan), where=inside)
    return turned


def _turn_mask(valid: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the valid share of each turned pixel, and whether its nearest pixel was valid."""
    weights = _turn(valid.astype(np.float32), matrix, cv2.INTER_LINEAR, 0)
    nearest = _turn(valid.astype(np.uint8), matrix, cv2.INTER_NEAREST, 0)
    return weights, (nearest > 0) & (weights > 0)


def _turn(plane: np.ndarray, matrix: np.ndarray, interpolation: int, fill: float) -> np.ndarray:
    return cv2.warpAffine(
        plane,
        matrix,
        plane.shape[::-1],
        flags=interpolation,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=fill,
    )
