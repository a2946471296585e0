"""Random rotation of multi-band images and their labels."""

from __future__ import annotations

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from dnas_mmseg.datasets.labels import IGNORE


@TRANSFORMS.register_module()
class MultiBandRandomRotate(BaseTransform):
    """Rotate image and labels about the centre by a random angle, at constant size.

    Labels are resampled by nearest neighbour, the image bilinearly between valid samples. A rotated
    pixel is valid if its nearest source pixel is, so NaN does not spread. Pixels from outside the
    image are 255 in the labels and NaN in the image, which the data preprocessor replaces by the
    band means. Integer images become float32.

    In contrast, mmseg's ``RandomRotFlip`` interpolates labels, which creates spurious classes, and
    fills the corners with class 0.

    Required keys: ``img`` (H, W, bands). Modified keys: ``img`` and all of ``seg_fields``.

    Args:
        prob: Probability of a rotation.
        degree: Largest absolute angle in degrees, or (smallest, largest) angle.
    """

    def __init__(self, prob: float = 0.5, degree: float | tuple[float, float] = 20.0) -> None:
        self.prob = prob
        low, high = (-degree, degree) if isinstance(degree, (int, float)) else degree
        self.degree = (low, high)

    def transform(self, results: dict) -> dict:
        """Rotate image and labels with probability ``prob``."""
        if np.random.rand() >= self.prob:
            return results
        angle = np.random.uniform(*self.degree)
        height, width = results['img'].shape[:2]
        centre = ((width - 1) / 2, (height - 1) / 2)
        matrix = cv2.getRotationMatrix2D(centre, angle, 1.0)
        results['img'] = _rotate_image(results['img'], matrix)
        for key in results.get('seg_fields', ()):
            rotated = _rotate(results[key], matrix, cv2.INTER_NEAREST, IGNORE)
            results[key] = rotated.astype(
                results[key].dtype, copy=False
            )  # OpenCV turns int64 to int32
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(prob={self.prob}, degree={self.degree})'


def _rotate_image(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Rotate (H, W, bands) band by band: parts of OpenCV support at most four channels."""
    image = image.astype(np.result_type(image.dtype, np.float32))
    all_valid = _rotate_mask(np.ones(image.shape[:2], bool), matrix)
    rotated = np.empty_like(image)
    for band in range(image.shape[2]):
        plane = image[..., band]
        valid = np.isfinite(plane)
        weights, inside = all_valid if valid.all() else _rotate_mask(valid, matrix)
        sums = _rotate(np.where(valid, plane, 0), matrix, cv2.INTER_LINEAR, 0)
        rotated[..., band] = np.divide(sums, weights, out=np.full_like(sums, np.nan), where=inside)
    return rotated


def _rotate_mask(valid: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the valid share of each rotated pixel, and whether its nearest source is valid."""
    weights = _rotate(valid.astype(np.float32), matrix, cv2.INTER_LINEAR, 0)
    nearest = _rotate(valid.astype(np.uint8), matrix, cv2.INTER_NEAREST, 0)
    return weights, (nearest > 0) & (weights > 0)


def _rotate(plane: np.ndarray, matrix: np.ndarray, interpolation: int, fill: float) -> np.ndarray:
    return cv2.warpAffine(
        plane,
        matrix,
        plane.shape[::-1],
        flags=interpolation,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=fill,
    )
