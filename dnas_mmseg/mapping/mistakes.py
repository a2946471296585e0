"""Error analysis of a model: confusion matrix, and tiles ranked by number of errors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from dnas_mmseg.classes import ClassScheme
from dnas_mmseg.datasets import MultiBandSegDataset
from dnas_mmseg.datasets.configs import leaf_datasets
from dnas_mmseg.engine.data_checks import check_class_order
from dnas_mmseg.errors import UserError
from dnas_mmseg.evaluation import confusion_matrix
from dnas_mmseg.files import write_csv
from dnas_mmseg.raster import read_raster
from dnas_mmseg.visualization import ExampleRow, save_comparison
from dnas_mmseg.visualization.confusion import save_confusion

from .segmentor import load_segmentor


@dataclass(frozen=True)
class TileMistakes:
    """Errors in a tile.

    Attributes:
        index: Index of the tile in its split.
        image: Path of its image.
        confusion: Confusion matrix, (classes, classes); rows are true classes.
    """

    index: int
    image: str
    confusion: np.ndarray

    @property
    def labelled(self) -> int:
        """Number of labelled pixels."""
        return int(self.confusion.sum())

    @property
    def wrong(self) -> int:
        """Number of misclassified labelled pixels."""
        return self.labelled - int(np.trace(self.confusion))

    @property
    def top_confusion(self) -> tuple[int, int]:
        """Most frequent error, as true and predicted class."""
        errors = self.confusion - np.diag(np.diag(self.confusion))
        true, predicted = np.unravel_index(errors.argmax(), errors.shape)
        return int(true), int(predicted)


def save_mistakes(
    config: Config,
    checkpoint: str | os.PathLike,
    out_dir: str | os.PathLike,
    *,
    split: str = 'test',
    number: int = 6,
    device: str | None = None,
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> list[TileMistakes]:
    """Predict the tiles of a data set and report the errors.

    Writes ``confusion.png``, ``worst_tiles.png`` (image, ground truth and prediction of the tiles
    with the most errors) and ``tiles.csv`` (all tiles, most errors first). Each tile is predicted
    once, also if wrappers such as ``RepeatDataset`` repeat it. The training tiles are loaded by the
    pipeline of the evaluation, which neither augments nor crops them.

    Args:
        config: Config of the model.
        checkpoint: Path of a checkpoint of this model; all tensors must match.
        out_dir: Output folder.
        split: Split of the data set, ``'train'``, ``'val'`` or ``'test'``.
        number: Number of tiles in ``worst_tiles.png``.
        device: Device; defaults to a GPU if one is available.
        track: Function that wraps the iterable of tile indices to show progress.

    Returns:
        Errors of every tile, most errors first.

    Raises:
        CheckpointError: The checkpoint is damaged or belongs to another network.
        UserError: The split does not consist of MultiBandSegDatasets with the same classes and
            bands or has no tiles, the config has no pipeline for evaluation, or ``number`` is not
            positive.
    """
    if number < 1:
        raise UserError(f'number = {number} tiles: expected at least 1')
    init_default_scope('mmseg')
    parts = _build_parts(config, split)
    tiles: dict[str, tuple[MultiBandSegDataset, int]] = {}
    for part in parts:
        for i in range(len(part)):
            tiles.setdefault(part.get_data_info(i)['img_path'], (part, i))
    if not tiles:
        raise UserError(f'{split}_dataloader: its list has no tiles')
    model = load_segmentor(config, checkpoint, device)
    metainfo = parts[0].metainfo
    classes, images = metainfo['classes'], list(tiles)
    check_class_order(model.dataset_meta['classes'], classes)
    mistakes, predictions = [], {}
    for index in track(range(len(images))):
        part, i = tiles[images[index]]
        tile = part[i]
        with torch.no_grad():
            (found,) = model.test_step(pseudo_collate([tile]))
        prediction = found.pred_sem_seg.data[0].long().cpu().numpy().astype(np.uint8)
        label = tile['data_samples'].gt_sem_seg.data[0].numpy()
        matrix = confusion_matrix(label, prediction, len(classes))
        mistakes.append(TileMistakes(index, images[index], matrix))
        predictions[index] = label, prediction
        mistakes.sort(key=lambda one: -one.wrong)
        for other in mistakes[number:]:  # only the worst tiles are shown
            predictions.pop(other.index, None)
    out_dir = Path(out_dir)
    total = np.sum([one.confusion for one in mistakes], axis=0)
    save_confusion(out_dir / 'confusion.png', total, classes, f'{split} tiles')
    worst = mistakes[:number]
    share = sum(one.wrong for one in worst) / max(sum(one.wrong for one in mistakes), 1)
    save_comparison(
        out_dir / 'worst_tiles.png',
        [ExampleRow(read_raster(o.image).transpose(1, 2, 0), *predictions[o.index]) for o in worst],
        bands=metainfo['bands'],
        classes=ClassScheme.from_metainfo(metainfo),
        title=f'{len(worst)} of {len(mistakes)} {split} tiles: {100 * share:.0f} % of all errors',
    )
    write_csv(out_dir / 'tiles.csv', _table(mistakes, classes))
    return mistakes


def _build_parts(config: Config, split: str) -> list[MultiBandSegDataset]:
    """Build the data sets of a split, without wrappers."""
    settings = [dict(leaf) for leaf in leaf_datasets(config.get(f'{split}_dataloader'))]
    if split == 'train':
        pipeline = _evaluation_pipeline(config)
        settings = [{**leaf, 'pipeline': pipeline, 'test_mode': True} for leaf in settings]
    parts = [DATASETS.build(leaf) for leaf in settings]
    if not parts or not all(isinstance(part, MultiBandSegDataset) for part in parts):
        raise UserError(f'{split}_dataloader: expected data sets of type MultiBandSegDataset')
    for key in ('classes', 'bands'):
        found = list(dict.fromkeys(tuple(part.metainfo[key]) for part in parts))
        if len(found) > 1:
            listed = ' and '.join(', '.join(names) for names in found)
            raise UserError(
                f'{split}_dataloader: data sets of different {key} ({listed}): choose one of them'
            )
    return parts


def _evaluation_pipeline(config: Config) -> list[dict]:
    """Return the pipeline of the validation or the test, which keeps labels as they are."""
    for split in ('val', 'test'):
        for leaf in leaf_datasets(config.get(f'{split}_dataloader')):
            if leaf.get('pipeline'):
                return leaf['pipeline']
    raise UserError(
        '--split train needs a pipeline without augmentation: val_dataloader and test_dataloader '
        'have none; add one'
    )


def _table(mistakes: list[TileMistakes], classes: list[str]) -> list[list]:
    rows: list[list] = [['image', 'labelled', 'wrong', 'most_frequent_mistake']]
    for one in mistakes:
        true, predicted = one.top_confusion
        swap = f'{classes[true]} as {classes[predicted]}' if one.wrong else ''
        rows.append([one.image, one.labelled, one.wrong, swap])
    return rows
