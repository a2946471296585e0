"""Checks before the first training run of what is used after it: evaluators and test tiles."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.registry import EVALUATOR
from mmengine.structures import PixelData
from mmseg.registry import DATASETS

from dnas_mmseg.engine.config_validation import validate_config
from dnas_mmseg.engine.data_checks import check_test_labels
from dnas_mmseg.errors import UserError

from .trainings import SCORE


def check_evaluation(config: Config) -> None:
    """Check that candidates can be scored on validation tiles, and the winner on test tiles.

    Args:
        config: Config that validates on the tiles to score candidates on.

    Raises:
        UserError: An evaluator is missing, invalid, or does not compute mIoU, or the test tiles
            have no labels.
    """
    validate_config(config, 'val_evaluator', 'test_evaluator')
    for split in ('val', 'test') if config.get('test_dataloader') else ('val',):
        name = f'{split}_evaluator'
        if not config.get(name) or config.get(f'{split}_cfg') is None:
            raise UserError(
                f'a selection requires {name} and {split}_cfg, as the config has a '
                f'{split}_dataloader'
            )
        dataset = DATASETS.build(config[f'{split}_dataloader'].dataset)
        evaluator = _build_evaluator(config[name])
        if split == 'test':
            check_test_labels(dataset, evaluator)
        scores = _score_first_tile(evaluator, dataset, name)
        if SCORE not in scores:
            raise UserError(
                f'{name} computes {", ".join(scores) or "no scores"}, but a selection requires '
                f"{SCORE}: use dict(type='ConfusionMetric')"
            )


def _build_evaluator(settings: Any) -> Evaluator:
    """Build the evaluator of a config, without output of predictions."""
    settings = copy.deepcopy(settings)
    is_whole = isinstance(settings, Mapping) and 'metrics' in settings
    metrics = settings['metrics'] if is_whole else settings
    for metric in metrics if isinstance(metrics, (list, tuple)) else [metrics]:
        metric.pop('output_dir', None)
    return EVALUATOR.build({'type': 'Evaluator', **settings}) if is_whole else Evaluator(metrics)


def _score_first_tile(evaluator: Evaluator, dataset: Any, name: str) -> dict[str, Any]:
    """Return the scores of a perfect prediction of the first tile.

    Args:
        evaluator: The evaluator.
        dataset: Data set of the tile.
        name: Name of the evaluator in the config.

    Raises:
        UserError: The evaluator fails.
    """
    classes = len(dataset.metainfo['classes'])
    sample = dataset[0]
    logging.disable(logging.INFO)  # tables of scores
    try:
        result = copy.deepcopy(sample['data_samples'])
        label = result.gt_sem_seg.data.long()
        predicted = torch.where(label < classes, label, 0)
        logits = torch.nn.functional.one_hot(predicted.squeeze(0), classes).movedim(-1, 0).float()
        result.set_data(
            dict(pred_sem_seg=PixelData(data=predicted), seg_logits=PixelData(data=logits))
        )
        evaluator.dataset_meta = dataset.metainfo
        evaluator.process([result], pseudo_collate([sample]))
        return evaluator.evaluate(1)
    except Exception as error:  # classes of any package may fail in any way
        raise UserError(
            f'{name} cannot score a tile: {type(error).__name__}: {" ".join(str(error).split())}'
        ) from error
    finally:
        logging.disable(logging.NOTSET)
