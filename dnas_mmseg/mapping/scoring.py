"""Scores of maps against label scenes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from dnas_mmseg.classes import find_moved_classes
from dnas_mmseg.datasets.configs import leaf_datasets
from dnas_mmseg.datasets.description import DatasetDescription, DatasetError
from dnas_mmseg.datasets.labels import (
    IGNORE,
    LabelEncoding,
    LabelError,
    label_samples,
    resolve_label_values,
)
from dnas_mmseg.errors import UserError
from dnas_mmseg.evaluation import compute_scores, confusion_matrix
from dnas_mmseg.files import write_json
from dnas_mmseg.preparation.scenes import Scene
from dnas_mmseg.raster import Raster, row_windows
from dnas_mmseg.visualization import save_confusion

from .segmentor import get_test_metainfo

OVERALL = 'all scenes'
"""Key of the scores over all scenes."""

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
    class_names: Sequence[str] = (),
) -> MapCount:
    """Compute the confusion matrix of a map and its label scene, one strip at a time.

    Args:
        prediction: Path of a class map of train ids; 255 marks pixels without a class.
        label: Path of a label scene of the same size.
        labels: Encoding of the label scene.
        max_unknown: Largest allowed share of pixels with unknown label values.
        class_names: Class names of ``labels``. The map must have as many, and equal names the same
            train ids.

    Raises:
        DatasetError: Sizes, georeferences or class names differ, the map contains an invalid class,
            or too many label values are unknown.
    """
    n = labels.num_classes
    matrix, unmapped = np.zeros((n, n), np.int64), 0
    unknown: Counter[str] = Counter()
    with Raster(prediction) as predicted, Raster(label) as truth:
        stored = predicted.info.class_names
        other = class_names and stored and len(stored) != len(class_names)
        if other or find_moved_classes(stored, class_names):
            raise DatasetError(
                f'{prediction}: its classes are {", ".join(stored)}; those of the config are '
                f'{", ".join(class_names)}: use the config of the mapped model'
            )
        shape = predicted.info.shape
        total = shape[0] * shape[1]
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
        for window in row_windows(*shape, _ROWS):
            classes = predicted.read(window)[0]
            try:
                ids, unknown_in_strip = labels.encode_known(label_samples(truth, labels, window))
            except LabelError as error:
                raise DatasetError(f'{label}: {error}') from None
            unknown.update(unknown_in_strip)
            if unknown.total() > max_unknown * total:
                raise DatasetError(
                    f'{label} up to {window}: {labels.describe_unknown(unknown, total)}'
                )
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


def get_label_encoding(
    config: Config,
    convention: str | None = None,
    label_values: Mapping[str, str | None] | None = None,
) -> tuple[tuple[str, ...], LabelEncoding]:
    """Return the classes of a config's test set, and how label scenes encode them.

    Args:
        config: Config with a test set.
        convention: Convention of the labels; defaults to the values of the scenes that the test
            tiles were cut from, else to the ``label_values`` of the test set, or without any to
            ``'rgb'``.
        label_values: Class of each label value, instead of a convention.

    Raises:
        UserError: The config defines no classes.
        LabelError: A value is invalid, or its class is unknown.
    """
    metainfo = get_test_metainfo(config)
    classes = tuple(metainfo.get('classes') or ())
    if not classes:
        raise UserError(
            f'{config.filename} defines no classes: set '
            'test_dataloader.dataset.metainfo=dict(classes=..., palette=...)'
        )
    palette = tuple(map(tuple, metainfo['palette']))
    if label_values is None and convention is None:
        label_values, names = _find_label_values(next(leaf_datasets(config.test_dataloader)))
        if label_values and tuple(names) != classes:
            raise UserError(
                f'{config.filename} selects or merges classes of its files: set the class of each '
                'label value by --label-values'
            )
    if label_values:
        _, resolved = resolve_label_values(label_values, classes)
        return classes, LabelEncoding('values', len(classes), palette, values=resolved)
    return classes, LabelEncoding(convention or 'rgb', len(classes), palette)


def _find_label_values(
    dataset: Mapping[str, Any],
) -> tuple[Mapping[str, str | None] | None, Sequence[str]]:
    """Return the class of each label value of scenes, and the classes in train-id order."""
    description = DatasetDescription.load(dataset.get('data_root'))
    known = description.metainfo.get('classes') or ()
    values = dataset.get('label_values')
    if values is not None and description.label_convention == 'train_id':
        if not description.scene_values:
            raise UserError(
                f'{dataset["data_root"]} contains tiles with train ids, and the label values of '
                'their scenes are unknown: set --label-convention or --label-values'
            )
        names, codes = resolve_label_values(
            values, (dataset.get('metainfo') or {}).get('classes') or ()
        )
        # The config may rename the classes of the train ids.
        renamed = {value: names[i] for value, i in codes if i != IGNORE}
        of_id = {name: renamed.get(train_id) for train_id, name in enumerate(known)}
        scenes = {v: None if n is None else of_id[n] for v, n in description.scene_values.items()}
        return scenes, names
    if values is None and description.scene_values:
        return description.scene_values, known
    if values is None and not dataset.get('label_convention'):
        values = description.label_values
    elif values is not None:
        known = (dataset.get('metainfo') or {}).get('classes') or known
    if not values:
        return None, ()
    names, _ = resolve_label_values(values, known)
    return values if isinstance(values, Mapping) else dict(zip(values, names, strict=True)), names


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
        counts[pair.name] = count_map(pair.image, pair.label, labels, class_names=classes)
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
