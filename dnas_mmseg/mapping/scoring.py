"""Scores of maps of many scenes against their labels."""

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


def score_maps(
    maps: Sequence[Scene],
    classes: Sequence[str],
    labels: LabelEncoding,
    out_dir: str | os.PathLike,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Score maps, in which every labelled pixel counts once, per scene and over all.

    Writes ``scores.json`` and the confusion matrix as ``confusion.png``.

    Args:
        maps: Class maps with the label scenes they are compared with.
        classes: Names of the classes, in train-id order.
        labels: Encoding of the label scenes.
        out_dir: Folder of the two files.
        advance: Function that is called with the number of maps scored and of all.

    Returns:
        Scores of :func:`dnas_mmseg.evaluation.scores` by scene, and under :data:`OVERALL`; and
        notes on what is in no score, a line each.

    Raises:
        DatasetError: A map and its label do not fit.
    """
    counts = {}
    for pair in maps:
        counts[pair.name] = count_map(pair.image, pair.label, labels)
        advance(len(counts), len(maps))
    nothing = np.zeros((labels.num_classes,) * 2, np.int64)
    total = sum((count.matrix for count in counts.values()), nothing)
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
        f'{name}: unknown label values count as unlabelled: '
        f'{labels.describe_unknown(count.unknown)}'
        for name, count in counts.items()
        if count.unknown
    ]
    if unmapped:
        notes.append(f'{unmapped} labelled pixels have no class in the maps and are in no score')
    return results, notes
