"""Confusion matrices of whole maps, in which every labelled pixel counts once."""

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
"""Rows per strip: one row of tiles of a map, so that no tile is decompressed twice."""


@dataclass(frozen=True)
class MapCount:
    """Counts of predicted classes over the labelled pixels of a map.

    Attributes:
        matrix: Confusion matrix, int64 (classes, classes); rows are true classes.
        unmapped: Number of labelled pixels without a class in the map. They are not scored.
        unknown: Number of pixels by unknown label value. They are not scored.
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
    """Compute the confusion matrix of a map and its label scene, one strip at a time.

    Args:
        prediction: Path of a class map of train ids; 255 marks pixels without a class.
        label: Path of a label scene of the same size.
        labels: Encoding of the label scene.
        max_unknown: Largest allowed share of pixels with unknown label values.

    Raises:
        DatasetError: Sizes or georeferences differ, the map contains an invalid class, or too many
            label values are unknown.
    """
    n = labels.num_classes
    matrix, unmapped = np.zeros((n, n), np.int64), 0
    unknown: Counter[str] = Counter()
    with Raster(prediction) as predicted, Raster(label) as truth:
        shape = predicted.info.shape
        if truth.info.shape != shape:
            raise DatasetError(f'{label}: the label is {truth.info.shape}, the map is {shape}')
        misalignment = predicted.info.georeference.describe_misalignment(
            truth.info.georeference, *shape
        )
        if misalignment:
            raise DatasetError(
                f'{label}: the georeference differs from that of {prediction}: {misalignment}. '
                "Warp the label to the map's grid (gdalwarp -r near -t_srs ... -te ... -ts ...), "
                'or correct it'
            )
        for row in range(0, shape[0], _ROWS):
            window = Window(0, row, shape[1], min(_ROWS, shape[0] - row))
            classes = predicted.read(window)[0]
            try:
                ids, unknown_in_strip = labels.encode_known(label_samples(truth, labels, window))
            except LabelError as error:
                raise DatasetError(f'{label}: {error}') from None
            unknown.update(unknown_in_strip)
            if unknown.total() > max_unknown * shape[0] * shape[1]:
                raise DatasetError(f'{label} up to {window}: {labels.describe_unknown(unknown)}')
            invalid = (classes >= n) & (classes != IGNORE)
            if invalid.any():
                wrong = classes[invalid].max()
                raise DatasetError(
                    f'{prediction} at {window}: class {wrong}, expected 0 to {n - 1}'
                )
            missing = (classes == IGNORE) & (ids != IGNORE)
            unmapped += int(missing.sum())
            matrix += confusion_matrix(np.where(missing, IGNORE, ids), classes, n)
    return MapCount(matrix, unmapped, unknown)
