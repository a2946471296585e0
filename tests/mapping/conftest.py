"""Scenes, maps and model outputs for tests."""

import numpy as np
import torch

from dnas_mmseg.mapping.windows import SegmentorWindows
from dnas_mmseg.raster import write_raster


def pair(folder, rng, name='s', height=1100, width=40):
    """Write a map with missing classes; return it and its label with unlabelled pixels."""
    truth = rng.integers(0, 5, (height, width)).astype(np.uint8)
    classes = np.where(rng.random(truth.shape) < 0.7, truth, rng.integers(0, 5, truth.shape))
    truth[:100] = 255
    classes[90:110] = 255
    write_raster(folder / f'maps/{name}.tif', classes.astype(np.uint8))
    return truth, classes


def scenes(folder, rng, *names, size=(60, 70), **kwargs):
    paths = [folder / f'{name}.tif' for name in names]
    for path in paths:
        samples = rng.integers(1, 255, (4, *size)).astype(np.uint8)
        write_raster(path, samples, **kwargs)
    return paths


def relative_error(model, exported, count, rng, size):
    images = [torch.from_numpy(rng.integers(0, 255, (4, *size), np.uint8)) for _ in range(count)]
    expected, got = SegmentorWindows(model).logits(images), exported.logits(images)
    assert got.shape == expected.shape
    return np.abs(got - expected).max() / np.abs(expected).max()
