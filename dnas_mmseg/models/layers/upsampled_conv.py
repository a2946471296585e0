"""Convolutions of bilinearly upsampled maps, computed at low resolution.

A k x k convolution is a sum of k * k shifted 1x1 convolutions. Each of them commutes with bilinear
upsampling, and a shifted upsampling is another separable interpolation. The convolution of an
upsampled map is therefore a 1x1 convolution to k * k times the channels at low resolution, followed
by a matrix product along the width and one along the height. The input is never upsampled. The
result is exact up to rounding, including borders and gradients.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

_published_order: ContextVar[bool] = ContextVar('published_order', default=False)


@contextmanager
def published_order() -> Iterator[None]:
    """Compute upsampling before convolution, in the order of the publications.

    Counts of multiply-adds refer to that order, and costs are compared by it.
    """
    token = _published_order.set(True)
    try:
        yield
    finally:
        _published_order.reset(token)


def in_published_order() -> bool:
    """Return whether the caller is within :func:`published_order`; never in a compiled graph."""
    # Until 2.13, torch cannot compile the access to a context variable.
    return not torch.compiler.is_compiling() and _published_order.get()


def convolve_upsampled(
    x: Tensor, size: tuple[int, int], weight: Tensor, *, dilation: int = 1, align_corners: bool
) -> Tensor:
    """Compute ``conv2d(interpolate(x, size, mode='bilinear'), weight, padding='same')``.

    Args:
        x: Maps, (N, C, h, w).
        size: Size (H, W) after upsampling, at least (h, w).
        weight: Weight of the convolution, (O, C, k, k), k odd.
        dilation: Dilation of the convolution.
        align_corners: ``align_corners`` of the interpolation.

    Returns:
        Convolved maps, (N, O, H, W), in channels-last memory format.
    """
    n, c, h, w = x.shape
    o, _, k, _ = weight.shape
    rows, columns = (
        torch.from_numpy(_shifted_interpolation(small, large, k, dilation, align_corners)).to(x)
        for small, large in zip((h, w), size, strict=True)
    )
    taps = x.permute(0, 2, 3, 1) @ weight.permute(1, 2, 3, 0).reshape(c, -1)
    taps = taps.view(n, h, w, k, k * o).transpose(2, 3).reshape(n * h * k, w * k, o)
    wide = columns.to(taps.dtype) @ taps  # (N * h * k, W, O)
    full = rows.to(taps.dtype) @ wide.view(n, h * k, size[1] * o)
    return full.view(n, *size, o).permute(0, 3, 1, 2)


@lru_cache(maxsize=64)
def _shifted_interpolation(
    small: int, large: int, k: int, dilation: int, align_corners: bool
) -> np.ndarray:
    """Return the interpolation matrix of each kernel tap along one axis, (large, small * k).

    Entry [p, (q, t)] is the weight of input q in the pixel that tap t reads at output p. The cache
    contains arrays, since a tensor keeps the mode in which it was created (inference, tracing).
    """
    if align_corners:
        positions = np.linspace(0, small - 1, large) if large > 1 else np.zeros(1)
    else:
        positions = np.clip((np.arange(large) + 0.5) * small / large - 0.5, 0, small - 1)
    left = np.minimum(positions.astype(int), max(small - 2, 0))
    share = positions - left
    interpolation = np.zeros((large, small))
    interpolation[np.arange(large), left] = 1 - share
    interpolation[np.arange(large), np.minimum(left + 1, small - 1)] += share
    reach = dilation * (k // 2)
    padded = np.pad(interpolation, ((reach, reach), (0, 0)))
    shifted = [padded[t * dilation : t * dilation + large] for t in range(k)]
    return np.stack(shifted, 2).reshape(large, small * k)
