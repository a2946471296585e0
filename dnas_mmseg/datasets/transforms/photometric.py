"""Photometric augmentation of images of any bands and sample type."""

from __future__ import annotations

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from dnas_mmseg.bands import RGB


@TRANSFORMS.register_module()
class MultiBandPhotoMetricDistortion(BaseTransform):
    """Change brightness and contrast of all bands, and saturation and hue of red, green and blue.

    Bands and sample type are preserved; integers are clipped to the range of their type, also if
    the image is float for its invalid pixels or after a rotation. mmseg's ``PhotoMetricDistortion``
    supports three uint8 bands only and drops or clips others.

    Each of the four changes is applied with probability 0.5; contrast is changed before or after
    the colours at random.

    Required keys: ``img``; ``bands`` for saturation and hue, which are skipped if red, green or
    blue is missing. Optional keys: ``sample_dtype`` (of ``LoadRasterFromFile``; a transform that
    rescales the samples has to remove it), the type of the image by default. Modified keys:
    ``img``.

    Args:
        brightness: Largest shift, relative to the value range.
        contrast: Smallest and largest factor.
        saturation: Smallest and largest factor.
        hue: Largest shift in degrees.
        value_range: Sample value of full brightness; defaults to 255 for uint8, otherwise to the
            maximum of the image.
    """

    def __init__(
        self,
        brightness: float = 32 / 255,
        contrast: tuple[float, float] = (0.5, 1.5),
        saturation: tuple[float, float] = (0.5, 1.5),
        hue: float = 18.0,
        value_range: float | None = None,
    ) -> None:
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue
        self.value_range = value_range

    def transform(self, results: dict) -> dict:
        """Distort the image."""
        image = results['img']
        sample_dtype = results.get('sample_dtype', image.dtype)
        peak = self._peak(image, sample_dtype)
        if not peak > 0:
            return results
        values = image.astype(np.float32)
        if _flip_coin():
            values += np.random.uniform(-self.brightness, self.brightness) * peak
        contrast_first = _flip_coin()
        if contrast_first and _flip_coin():
            values *= np.random.uniform(*self.contrast)
        bands = tuple(results.get('bands') or ())
        if all(name in bands for name in RGB):
            index = [bands.index(name) for name in RGB]
            values[..., index] = self._distort_colour(values[..., index] / peak) * peak
        if not contrast_first and _flip_coin():
            values *= np.random.uniform(*self.contrast)
        results['img'] = _limit(values, sample_dtype).astype(image.dtype)
        return results

    def _peak(self, image: np.ndarray, sample_dtype: np.dtype) -> float:
        if self.value_range is not None:
            return self.value_range
        return 255.0 if sample_dtype == np.uint8 else float(np.nanmax(image, initial=0))

    def _distort_colour(self, rgb: np.ndarray) -> np.ndarray:
        """Scale the saturation and shift the hue of float (H, W, 3) in 0 .. 1."""
        scale = np.random.uniform(*self.saturation) if _flip_coin() else 1.0
        shift = np.random.uniform(-self.hue, self.hue) if _flip_coin() else 0.0
        if scale == 1.0 and shift == 0.0:
            return rgb
        hsv = mmcv.bgr2hsv(np.ascontiguousarray(rgb.clip(0, 1)[..., ::-1]))
        hsv[..., 0] = (hsv[..., 0] + shift) % 360
        hsv[..., 1] = (hsv[..., 1] * scale).clip(0, 1)
        return mmcv.hsv2bgr(hsv)[..., ::-1]

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(brightness={self.brightness}, contrast={self.contrast}, '
            f'saturation={self.saturation}, hue={self.hue}, value_range={self.value_range})'
        )


def _flip_coin() -> bool:
    return bool(np.random.randint(2))


def _limit(values: np.ndarray, sample_dtype: np.dtype) -> np.ndarray:
    """Round and clip values to those of an integer type; NaN is preserved."""
    if not np.issubdtype(sample_dtype, np.integer):
        return values
    limits = np.iinfo(sample_dtype)
    return np.rint(values).clip(limits.min, limits.max)
