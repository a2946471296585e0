"""Turning images of any bands and type together with their labels."""

from __future__ import annotations

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from ..labels import IGNORE


@TRANSFORMS.register_module()
class MultiBandRandomRotate(BaseTransform):
    """Turn image and labels about the centre by a random angle; sizes stay.

    mmseg's ``RandomRotFlip`` interpolates labels, so that classes appear that nobody drew, and
    calls the corners class 0. Here labels are taken from the nearest pixel, and what comes from
    outside the image is 255 in them and NaN in the image, which the data preprocessor makes the
    bands' means. An image of whole numbers becomes float32 by that, in its own units.

    Required keys: ``img`` (H, W, bands). Modified keys: ``img`` and all of ``seg_fields``.

    Args:
        prob: How likely an image is turned.
        degree: Largest angle to either side, in degrees; or smallest and largest.
    """

    def __init__(self, prob: float = 0.5, degree: float | tuple[float, float] = 20.0) -> None:
        self.prob = prob
        self.degree = (-degree, degree) if isinstance(degree, (int, float)) else tuple(degree)

    def transform(self, results: dict) -> dict:
        """Turn the image and its labels, or leave both."""
        if np.random.rand() >= self.prob:
            return results
        angle = np.random.uniform(*self.degree)
        height, width = results['img'].shape[:2]
        centre = ((width - 1) / 2, (height - 1) / 2)
        matrix = cv2.getRotationMatrix2D(centre, angle, 1.0)
        image = results['img'].astype(np.float32)
        turned = [self._turn(image[..., b], matrix, cv2.INTER_LINEAR, np.nan) for b in
                  range(image.shape[2])]  # fmt: skip
        results['img'] = np.stack(turned, axis=2)
        for key in results.get('seg_fields', ()):
            results[key] = self._turn(results[key], matrix, cv2.INTER_NEAREST, IGNORE)
        return results

    @staticmethod
    def _turn(plane: np.ndarray, matrix: np.ndarray, interpolation: int, fill: float) -> np.ndarray:
        # A band at a time: OpenCV fills at most four with a value of their own.
        return cv2.warpAffine(
            plane,
            matrix,
            plane.shape[::-1],
            flags=interpolation,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=fill,
        )

    def __repr__(self) -> str:
        return f'{type(self).__name__}(prob={self.prob}, degree={self.degree})'
