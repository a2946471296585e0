"""Scores of whole maps against label scenes, in which every labelled pixel counts once."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass

import numpy as np

from dnas_mmseg.datasets.description import DatasetError
from dnas_mmseg.datasets.labels import IGNORE, LabelEncoding, LabelError, label_samples
from dnas_mmseg.evaluation.scores import confusion_matrix
from dnas_mmseg.raster import Raster, Window

_ROWS = 512


@dataclass(frozen=True)
class MapCount:
    """Counts of a map's classes over labelled pixels.

    Attributes:
        matrix: Counts, int64 (classes, classes); rows are true classes.
        unmapped: Number of labelled pixels to which the map gives no class; they are in no score.
        unknown: Numbers of pixels of the unknown label values; they are in no score.
    """

    matrix: np.ndarray
    unmapped: int
    unknown: Counter[str]


def count_map(
    prediction: str | os.PathLike,
    label: str | os.PathLike,
    labels: LabelEncoding,
    max_unknown: float = 0.001,
) -> MapCount:
    """Compare a map with its label scene, a strip at a time.

    Args:
        prediction: Path of a class map of train ids, 255 where there is no class.
        label: Path of a label scene of the same size.
        labels: Encoding of the label scene.
        max_unknown: Share of the pixels that may have unknown label values.

    Raises:
        DatasetError: Sizes or places differ, a value of the map is no class, or more label values
            are unknown.
    """
    n = labels.num_classes
    matrix, unmapped = np.zeros((n, n), np.int64), 0
    unknown: Counter[str] = Counter()
    with Raster(prediction) as predicted, Raster(label) as truth:
        shape = predicted.info.shape
        if truth.info.shape != shape:
            raise DatasetError(f'{label}: label of {truth.info.shape} for a map of {shape}')
        apart = predicted.info.georeference.describe_misalignment(truth.info.georeference, *shape)
        if apart:
            raise DatasetError(
                f'{label}: its georeference is not that of the map {prediction}: {apart}. Warp it '
                "to the map's grid (gdalwarp -r near -t_srs ... -te ... -ts ...), or correct it"
            )
        for row in range(0, shape[0], _ROWS):
            window = Window(0, row, shape[1], min(_ROWS, shape[0] - row))
            classes = predicted.read(window)[0]
            try:
                ids, odd_labels = labels.encode_known(label_samples(truth, labels, window))
            except LabelError as error:
                raise DatasetError(f'{label}: {error}') from None
            unknown.update(odd_labels)
            if unknown.total() > max_unknown * shape[0] * shape[1]:
                raise DatasetError(f'{label} up to {window}: {labels.describe_unknown(unknown)}')
            odd = (classes >= n) & (classes != IGNORE)
            if odd.any():
                raise DatasetError(
                    f'{prediction} at {window}: class {classes[odd].max()}, but there are {n}'
                )
            missing = (classes == IGNORE) & (ids != IGNORE)
            unmapped += int(missing.sum())
            matrix += confusion_matrix(np.where(missing, IGNORE, ids), classes, n)
    return MapCount(matrix, unmapped, unknown)
