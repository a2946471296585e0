"""Scores of whole maps against label scenes: every labelled pixel once."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from dnas_mmseg.datasets.description import DatasetError
from dnas_mmseg.datasets.labels import IGNORE, LabelEncoding, LabelError
from dnas_mmseg.raster import Raster, Window

from .scores import confusion_matrix

_ROWS = 512


@dataclass(frozen=True)
class MapCount:
    """What a map says of labelled pixels.

    Attributes:
        matrix: int64 (classes, classes), rows are true classes.
        unmapped: Labelled pixels to which the map gives no class; they are in no score.
    """

    matrix: np.ndarray
    unmapped: int


def count_map(
    prediction: str | os.PathLike, label: str | os.PathLike, labels: LabelEncoding
) -> MapCount:
    """Compare a map with its label scene, a strip at a time.

    Args:
        prediction: Class map of train ids, 255 where there is no class.
        label: Label scene of the same size.
        labels: How the label scene is to be read.

    Raises:
        DatasetError: The sizes differ, or a value is no class.
    """
    n = labels.num_classes
    matrix, unmapped = np.zeros((n, n), np.int64), 0
    with Raster(prediction) as predicted, Raster(label) as truth:
        shape = predicted.info.shape
        if truth.info.shape != shape:
            raise DatasetError(f'{label}: label of {truth.info.shape} for a map of {shape}')
        for row in range(0, shape[0], _ROWS):
            window = Window(row, 0, min(_ROWS, shape[0] - row), shape[1])
            classes = predicted.read(window)[0]
            try:
                ids = labels.encode(truth.read(window))
            except LabelError as error:
                raise DatasetError(f'{label} at {window}: {error}') from None
            odd = (classes >= n) & (classes != IGNORE)
            if odd.any():
                raise DatasetError(
                    f'{prediction} at {window}: class {classes[odd].max()}, but there are {n}'
                )
            missing = (classes == IGNORE) & (ids != IGNORE)
            unmapped += int(missing.sum())
            matrix += confusion_matrix(np.where(missing, IGNORE, ids), classes, n)
    return MapCount(matrix, unmapped)
