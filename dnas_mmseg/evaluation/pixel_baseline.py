"""Baselines that see single pixels: gradient-boosted trees on the bands, and the majority class.

A network that does not beat the trees has learnt nothing from shapes and neighbourhoods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # a dependency of scikit-learn

from dnas_mmseg.datasets import MultiBandSegDataset
from dnas_mmseg.datasets.labels import IGNORE
from dnas_mmseg.errors import UserError

from .scores import compute_scores, confusion_matrix

_PIXELS, _PIXELS_PER_TILE, _TESTED_PER_TILE, _MAX_TILES = 50_000, 1000, 500, 1000
"""Largest numbers of pixels that the trees see in all, per tile and per tested tile, and of tiles
that are read to train: enough for a handful of bands, and seconds to read, train and test."""

_ROUNDS = 100
"""Number of boosting rounds, scikit-learn's default."""


@dataclass(frozen=True)
class PixelBaseline:
    """Confusion matrices of the baselines on a set of tiles.

    Attributes:
        trees: Counts of gradient-boosted trees, (classes, classes); rows are true classes.
        majority: Counts of predicting the most frequent class of the training tiles.
    """

    trees: np.ndarray
    majority: np.ndarray

    @property
    def scores(self) -> dict[str, float]:
        """mIoU of the trees and of the majority class, in percent, by name."""
        named = {'per-pixel trees': self.trees, 'majority class': self.majority}
        return {name: 100 * compute_scores(matrix)['mIoU'] for name, matrix in named.items()}


def evaluate_pixel_baseline(
    training: Sequence[MultiBandSegDataset],
    tested: Sequence[MultiBandSegDataset],
    seed: int = 0,
    track: Callable[[Iterable], Iterable] = iter,
) -> PixelBaseline:
    """Train gradient-boosted trees on a sample of pixels, and test them on a sample of pixels.

    The features of a pixel are its samples in the used bands; invalid and unlabelled pixels do not
    count. Histogram-based gradient boosting: Ke et al., NeurIPS 2017 (LightGBM), as implemented by
    scikit-learn.

    Args:
        training: Data sets of the training tiles.
        tested: Data sets of the tiles to predict.
        seed: Seed of the sample and of the trees.
        track: Function that wraps the tiles to predict, to show progress.

    Raises:
        UserError: No pixel of the training or the tested tiles is labelled, or a pipeline loads no
            labels.
    """
    # Selections import this module, but dry runs and finished ones do without the trees.
    from sklearn.ensemble import HistGradientBoostingClassifier

    rng = np.random.default_rng(seed)
    classes = len(training[0].metainfo['classes'])
    features, labels = _sample(training, rng)
    if len(labels) == 0:
        raise UserError('no pixel of the training tiles is labelled')
    majority = int(np.bincount(labels, minlength=classes).argmax())
    model = HistGradientBoostingClassifier(
        max_iter=_ROUNDS, early_stopping=False, random_state=seed
    )
    if len(np.unique(labels)) > 1:
        # Two threads save seconds on an idle machine, but take minutes on a busy one: they spin.
        with threadpool_limits(1, 'openmp'):
            model.fit(features, labels)
    tiles = [(dataset, i) for dataset in tested for i in range(len(dataset))]
    tiles = [tiles[k] for k in sorted(rng.permutation(len(tiles))[:_MAX_TILES])]
    parts = [_sample_tile(dataset, i, _TESTED_PER_TILE, rng) for dataset, i in track(tiles)]
    parts = [(pixels, truth) for pixels, truth in parts if len(truth)]
    if not parts:
        raise UserError('no pixel of the tiles to score on is labelled')
    pixels, truth = (np.concatenate(part) for part in zip(*parts, strict=True))
    constant = np.full_like(truth, majority)
    with threadpool_limits(1, 'openmp'):
        predicted = model.predict(pixels) if hasattr(model, 'classes_') else constant
    trees, most = (confusion_matrix(truth, found, classes) for found in (predicted, constant))
    return PixelBaseline(trees, most)


def _sample(
    datasets: Sequence[MultiBandSegDataset], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return features (pixels, bands) and classes (pixels,) of a sample of all tiles."""
    tiles = [(dataset, i) for dataset in datasets for i in range(len(dataset))]
    order = rng.permutation(len(tiles))[:_MAX_TILES]
    share = min(_PIXELS_PER_TILE, max(1, _PIXELS // len(order)))
    parts: list[Any] = []
    for k in order:
        dataset, index = tiles[k]
        parts.append(_sample_tile(dataset, index, share, rng))
    features, labels = zip(*parts, strict=True)
    return np.concatenate(features), np.concatenate(labels)


def _sample_tile(
    dataset: MultiBandSegDataset, index: int, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return features and classes of some labelled pixels of a tile, as its pipeline loads them."""
    results: Any = dataset.get_data_info(index)
    for transform in dataset.pipeline.transforms:
        results = transform(results)
        if results is None or 'gt_seg_map' in results:
            break
    if not results or 'gt_seg_map' not in results:
        raise UserError('the pipeline loads no labels to train or to score on')
    labels = results['gt_seg_map']  # 255 where the image is invalid
    if labels.shape != results['img'].shape[:2]:
        raise UserError('the pipeline resizes images before it loads their labels')
    rows, columns = np.nonzero(labels != IGNORE)
    chosen = rng.permutation(len(rows))[:count]
    place = rows[chosen], columns[chosen]
    return results['img'][place].astype(np.float32), labels[place]
