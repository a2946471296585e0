"""Mask values: values and bits of a quality band that mark invalid pixels."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ._gdal import RasterError


@dataclass(frozen=True)
class MaskValues:
    """Values and bits of a quality band that mark invalid pixels.

    Attributes:
        values: Values, such as the classes of Sentinel-2's SCL.
        bits: Bit numbers, such as the flags of Landsat's QA_PIXEL, from 0.

    Example:
        >>> MaskValues.parse(['3', 'bit4']).is_invalid(np.array([3, 16, 17, 8]))
        array([ True,  True,  True, False])
    """

    values: tuple[int, ...] = ()
    bits: tuple[int, ...] = ()

    @classmethod
    def parse(cls, words: Iterable[int | str]) -> MaskValues:
        """Parse numbers, and bits written as ``bit3``.

        Raises:
            RasterError: A word is neither.
        """
        values: list[int] = []
        bits: list[int] = []
        for word in words:
            match = re.fullmatch(r'(bit)?(\d{1,5})', str(word).strip().lower())
            if match is None or (match[1] and int(match[2]) > 31):
                raise RasterError(
                    f"mask value '{word}': expected a value of the quality band, such as 3, or a "
                    'bit from bit0 to bit31'
                )
            (bits if match[1] else values).append(int(match[2]))
        return cls(tuple(values), tuple(bits))

    def is_invalid(self, quality: np.ndarray) -> np.ndarray:
        """Return where an integer quality band has one of the values or bits, boolean."""
        flags = sum(1 << bit for bit in set(self.bits))
        return np.isin(quality, self.values) | (quality.astype(np.int64) & flags != 0)

    def __bool__(self) -> bool:
        return bool(self.values or self.bits)

    def __str__(self) -> str:
        return ', '.join([*map(str, self.values), *(f'bit{bit}' for bit in self.bits)])
