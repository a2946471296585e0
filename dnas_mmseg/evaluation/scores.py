"""Confusion matrix and segmentation scores."""

from __future__ import annotations

from typing import Any

import numpy as np

from dnas_mmseg.errors import UserError


def confusion_matrix(label: np.ndarray, prediction: np.ndarray, num_classes: int) -> np.ndarray:
    """Count labelled pixels by (true class, predicted class).

    Args:
        label, prediction: Integer arrays of the same shape. Pixels with a label outside
            0 .. num_classes-1 (255, unlabelled) are ignored.
        num_classes: Number of classes.

    Returns:
        Counts, int64 (num_classes, num_classes); rows are true classes.

    Raises:
        UserError: A class is predicted at a labelled pixel that is not one of the classes.

    Example:
        >>> confusion_matrix(np.array([0, 0, 1, 255]), np.array([0, 1, 1, 1]), 2)
        array([[1, 1],
               [0, 1]])
    """
    labelled = (label >= 0) & (label < num_classes)
    predicted = prediction[labelled]
    if predicted.size and not 0 <= predicted.min() <= predicted.max() < num_classes:
        raise UserError(
            f'the network predicts class {predicted.max()}, but the data have {num_classes} classes'
        )
    pairs = label[labelled].astype(np.int64) * num_classes + predicted
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def compute_scores(matrix: np.ndarray) -> dict[str, Any]:
    """Compute segmentation scores from a confusion matrix, between 0 and 1.

    Args:
        matrix: Counts, (n, n); rows are true classes.

    Returns:
        Scores by name: ``mIoU`` over classes that occur in the ground truth or the prediction,
        ``OA`` overall accuracy, ``mAcc`` mean recall, ``FWIoU`` IoU weighted by class frequency
        (Long et al., Fully Convolutional Networks, 2015, section 5), ``kappa`` (Cohen, 1960); and
        arrays (n,) by class: ``IoU``, and ``Acc`` recall. Scores without pixels are NaN.

    Example:
        >>> scores = compute_scores(np.array([[1, 1], [0, 1]]))
        >>> round(scores['mIoU'], 3), round(scores['OA'], 3)
        (0.5, 0.667)
    """
    matrix = matrix.astype(np.float64)
    hits, true, predicted = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    total = matrix.sum()
    with np.errstate(invalid='ignore', divide='ignore'):
        iou = hits / (true + predicted - hits)
        recall = hits / true
        accuracy = hits.sum() / total
        chance = (true * predicted).sum() / total**2
        kappa = (accuracy - chance) / (1 - chance)
        weighted = np.nansum(iou * true) / total
    return {
        'mIoU': _mean(iou),
        'OA': float(accuracy),
        'mAcc': _mean(recall),
        'FWIoU': float(weighted),
        'kappa': float(kappa),
        'IoU': iou,
        'Acc': recall,
    }


def _mean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if not np.isnan(values).all() else float('nan')
