"""Testing of exported models with mmengine's loop and the metrics of a config."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from dnas_mmseg.datasets.configs import leaf_datasets
from dnas_mmseg.engine.data_checks import check_class_order, check_test_labels
from dnas_mmseg.engine.running import ConsoleRunner
from dnas_mmseg.errors import UserError
from dnas_mmseg.files import write_json
from dnas_mmseg.work_dir import TEST_SCORES

from .engine_segmentor import EngineSegmentor
from .exported import ExportedModel


def score_exported(config: Config, model: ExportedModel, split: str = 'test') -> dict[str, float]:
    """Score an exported model on the tiles of a config.

    Writes the scores to ``test_scores.json`` in the work dir.

    Args:
        config: Config with a test set, and a validation set for ``split='val'``.
        model: Exported model; its window must be at least the size of a tile.
        split: ``'test'`` or ``'val'``.

    Returns:
        Scores of the evaluator, by name.

    Raises:
        UserError: The config is invalid, or the tiles are larger than the model's window.
    """
    config = copy.deepcopy(config)
    if split == 'val':
        config.test_dataloader = copy.deepcopy(config.get('val_dataloader'))
        config.test_evaluator = copy.deepcopy(config.get('val_evaluator'))
        config.test_cfg = dict(type='TestLoop')
    config.model = EngineSegmentor(model)
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler'):
        config[key] = None
    for key in ('val_dataloader', 'val_cfg', 'val_evaluator'):
        config[key] = None
    config.custom_hooks = []
    runner = ConsoleRunner.from_cfg(config)
    loop = runner.test_loop
    if loop is None:
        raise UserError(f'{split}_dataloader and {split}_evaluator are missing in the config')
    dataset = loop.dataloader.dataset
    check_class_order(model.dataset_meta.get('classes'), dataset.metainfo.get('classes'))
    check_test_labels(dataset, loop.evaluator)
    scores = runner.test()
    if split == 'test' and is_main_process():
        write_json(Path(config.work_dir) / TEST_SCORES, scores)
    return scores


def get_test_tile_size(config: Config) -> int:
    """Return the longer side of the first test tile after its pipeline, in pixels.

    Raises:
        UserError: The config has no test set.
    """
    leaf = next(leaf_datasets(config.get('test_dataloader')), None)
    if leaf is None:
        raise UserError('test_dataloader is missing in the config')
    init_default_scope(config.get('default_scope', 'mmseg'))
    return max(DATASETS.build(leaf)[0]['inputs'].shape[-2:])


def as_samples(image: torch.Tensor, window: int) -> np.ndarray:
    """Return the upper left window of a tile as input of an exported model.

    Args:
        image: Samples as stored, (bands, H, W).
        window: Side of the window, in pixels.

    Returns:
        Float32 (1, bands, window, window), padded with NaN if the tile is smaller.
    """
    part = image[:, :window, :window].float().numpy()
    samples = np.full((1, part.shape[0], window, window), np.nan, np.float32)
    samples[0, :, : part.shape[1], : part.shape[2]] = part
    return samples
