"""Scores of an exported model on a config's tiles, by mmengine's loop and the config's metrics."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import DATASETS

from dnas_mmseg.engine.config_checks import check_test_labels, config_errors
from dnas_mmseg.engine.configs import leaf_datasets
from dnas_mmseg.engine.running import ConsoleRunner
from dnas_mmseg.errors import UserError
from dnas_mmseg.files import write_text

from .exported import ExportedModel


class EngineSegmentor(BaseModel):
    """An exported model in the place of a segmentor, for loops and inferencers of mmengine.

    Args:
        engine: The exported model.

    Attributes:
        dataset_meta: Classes, palette and bands.
        threshold: Threshold of a binary head; None for others.
    """

    def __init__(self, engine: ExportedModel) -> None:
        super().__init__()
        self.engine = engine
        self.dataset_meta, self.threshold = engine.dataset_meta, engine.threshold

    def __deepcopy__(self, memo: dict) -> EngineSegmentor:
        """Return the model itself: engines cannot be copied, and a runner copies its config."""
        return self

    def __repr__(self) -> str:
        """Return an expression, as a config that is logged needs it."""
        return f'EngineSegmentor({type(self.engine).__name__!r})'

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = 'tensor') -> Any:
        """Not to be called: an exported model predicts, and nothing else."""
        raise NotImplementedError('an exported model predicts by test_step alone')

    @torch.no_grad()
    def test_step(self, data: dict | tuple | list) -> list:
        """Predict a batch.

        Args:
            data: Dictionary with ``inputs``, images (bands, H, W) of any sizes, and
                ``data_samples``.

        Returns:
            The samples with ``pred_sem_seg``, (1, H, W) in the image's size before the pipeline,
            and ``seg_logits``.
        """
        assert isinstance(data, dict)
        samples = data['data_samples']
        for image, sample in zip(data['inputs'], samples, strict=True):
            logits = torch.from_numpy(self.engine.logits([image.float().cpu()]))
            shape = tuple(sample.ori_shape[:2])
            if tuple(logits.shape[2:]) != shape:
                logits = torch.nn.functional.interpolate(logits, shape, mode='bilinear')
            if self.threshold is None:
                classes = logits[0].argmax(0, keepdim=True)
            else:
                classes = (logits[0].sigmoid() > self.threshold).long()
            sample.set_data(
                {
                    'pred_sem_seg': PixelData(data=classes),
                    'seg_logits': PixelData(data=logits[0]),
                }
            )
        return samples

    def val_step(self, data: dict | tuple | list) -> list:
        """Predict a batch, as :meth:`test_step` does."""
        return self.test_step(data)


def score_exported(config: Config, model: ExportedModel, split: str = 'test') -> dict[str, float]:
    """Score an exported model on a config's tiles.

    The scores are also written to ``test_scores.json`` in the work dir.

    Args:
        config: Config with a test set, and a validation set for ``split='val'``.
        model: The exported model; its window must hold a tile.
        split: ``'test'`` or ``'val'``.

    Returns:
        Scores of the evaluator, by name.

    Raises:
        UserError: The config cannot work, or the tiles are larger than the model's window.
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
    with config_errors():
        runner = ConsoleRunner.from_cfg(config)
        loop = runner.test_loop
    if loop is None:
        raise UserError(f'the config has no {split}_dataloader and {split}_evaluator')
    check_test_labels(loop.dataloader.dataset, loop.evaluator)
    scores = runner.test()
    valid = {name: None if math.isnan(value) else float(value) for name, value in scores.items()}
    write_text(Path(config.work_dir) / 'test_scores.json', json.dumps(valid, indent=2) + '\n')
    return scores


def largest_tile(config: Config) -> int:
    """Return the longer side of the first test tile as it reaches the model, in pixels.

    Raises:
        UserError: The config has no test set.
    """
    leaf = next(leaf_datasets(config.get('test_dataloader')), None)
    if leaf is None:
        raise UserError('the config has no test_dataloader')
    init_default_scope(config.get('default_scope', 'mmseg'))
    return max(DATASETS.build(leaf)[0]['inputs'].shape[-2:])


def as_samples(image: torch.Tensor, window: int) -> np.ndarray:
    """Return the upper left window of a tile as an exported model takes it.

    Args:
        image: Samples as they are stored, (bands, H, W).
        window: Side of the window, in pixels.

    Returns:
        Float32 (1, bands, window, window); NaN where the tile is smaller.
    """
    part = image[:, :window, :window].float().numpy()
    samples = np.full((1, part.shape[0], window, window), np.nan, np.float32)
    samples[0, :, : part.shape[1], : part.shape[2]] = part
    return samples
