"""Scores of maps against label scenes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dnas_mmseg.datasets.labels import LabelEncoding
from dnas_mmseg.evaluation import compute_scores
from dnas_mmseg.files import write_json
from dnas_mmseg.preparation.scenes import Scene
from dnas_mmseg.visualization import save_confusion

from .map_scores import count_map

OVERALL = 'all scenes'
"""Key of the scores over all scenes."""


def score_maps(
    maps: Sequence[Scene],
    classes: Sequence[str],
    labels: LabelEncoding,
    out_dir: str | os.PathLike,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Score maps per scene and over all scenes; every labelled pixel counts once.

    Writes ``scores.json`` and the confusion matrix as ``confusion.png``.

    Args:
        maps: Pairs of class map and label scene.
        classes: Class names in train-id order.
        labels: Encoding of the label scenes.
        out_dir: Output folder.
        advance: Progress callback, called with the numbers of scored and of all maps.

    Returns:
        Scores of :func:`dnas_mmseg.evaluation.compute_scores` by scene and under :data:`OVERALL`;
        and notes on pixels that are not scored, one line each.

    Raises:
        DatasetError: A map and its label do not match.
    """
    counts = {}
    for pair in maps:
        counts[pair.name] = count_map(pair.image, pair.label, labels)
        advance(len(counts), len(maps))
    zero = np.zeros((labels.num_classes,) * 2, np.int64)
    total = sum((count.matrix for count in counts.values()), zero)
    results = {name: compute_scores(count.matrix) for name, count in counts.items()}
    results[OVERALL] = compute_scores(total)
    unmapped = sum(count.unmapped for count in counts.values())
    document: dict[str, dict[str, Any]] = {
        name: {key: np.round(value, 6) for key, value in result.items()}
        for name, result in results.items()
    }
    document[OVERALL].update(confusion=total, classes=list(classes), unmapped=unmapped)
    write_json(Path(out_dir) / 'scores.json', document)
    title = f'{len(counts)} scenes, mIoU {100 * results[OVERALL]["mIoU"]:.1f} %'
    save_confusion(Path(out_dir) / 'confusion.png', total, classes, title)
    notes = [
        f'{name}: unknown label values are treated as unlabelled: '
        f'{labels.describe_unknown(count.unknown)}'
        for name, count in counts.items()
        if count.unknown
    ]
    if unmapped:
        notes.append(f'{unmapped} labelled pixels have no class in the maps and are not scored')
    return results, notes
