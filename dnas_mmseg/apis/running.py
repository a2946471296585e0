"""Training and testing a config, as the tools do."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.model import is_model_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import DATASETS

from dnas_mmseg.datasets import (
    DatasetError,
    MultiBandSegDataset,
    class_weights,
    inspect_pairs,
    summarise,
)
from dnas_mmseg.errors import UserError
from dnas_mmseg.files import exclusive, write_text

from .checkpoint_conversion import load_exactly, load_weights


def train(config: Config) -> Runner:
    """Train as the config says.

    Returns:
        The runner, after training.

    Raises:
        UserError: Another run is in the work dir.
    """
    with exclusive(config.work_dir) if is_main_process() else nullcontext():
        runner = build_runner(config)
        runner.train()
    return runner


def build_runner(config: Config) -> Runner:
    """A runner that can train.

    Raises:
        UserError: The training set does not fill a batch.
    """
    runner = Runner.from_cfg(config)
    loader = runner.train_dataloader
    if len(loader) == 0:
        raise UserError(
            f'{len(loader.sampler)} tiles to train on (in each process) do not fill a batch of '
            f'{config.train_dataloader.batch_size}: lower the batch size or give more tiles'
        )
    return runner


def test(config: Config, checkpoint: str) -> dict[str, float]:
    """Test a checkpoint on the config's test set.

    The scores are also written to ``test_scores.json`` in the work dir.

    Args:
        config: The config.
        checkpoint: A checkpoint of exactly this model.

    Returns:
        The evaluator's scores.

    Raises:
        CheckpointError: The checkpoint is damaged, or of another network.
    """
    weights = load_weights(checkpoint)
    runner = Runner.from_cfg(config)
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    load_exactly(model, weights, checkpoint)
    scores = runner.test()
    if is_main_process():
        # JSON has no NaN; a class that does not occur has no score.
        valid = {name: None if math.isnan(v) else float(v) for name, v in scores.items()}
        write_text(Path(config.work_dir) / 'test_scores.json', json.dumps(valid, indent=2) + '\n')
    return scores


def weight_classes(config: Config) -> list[float]:
    """Weigh the classes in the config's loss by their shares in the training set.

    The shares come from ``dataset.json`` where it has them, else from counting all labels.

    Args:
        config: Changed in place: ``class_weight`` of the decode head's losses.

    Returns:
        The weights; see :func:`dnas_mmseg.datasets.class_weights`.

    Raises:
        UserError: The config has no such data set or loss, or the labels have problems.
    """
    init_default_scope(config.get('default_scope', 'mmseg'))
    dataset = DATASETS.build(config.train_dataloader.dataset)
    while hasattr(dataset, 'dataset'):
        dataset = dataset.dataset
    if not isinstance(dataset, MultiBandSegDataset):
        raise UserError(f'class weights are computed for MultiBandSegDataset, not {type(dataset)}')
    head = config.model.decode_head
    losses = head.get('loss_decode') if isinstance(head, dict) else None
    if not losses:
        raise UserError('class weights need a decode_head with loss_decode in the config')
    weights = class_weights(dataset.select_classes(_class_shares(dataset)))
    for loss in losses if isinstance(losses, (list, tuple)) else [losses]:
        loss.class_weight = weights
    return weights


def _class_shares(dataset: MultiBandSegDataset) -> Sequence[float]:
    """Of the classes of the files."""
    if dataset.description.class_shares:
        return dataset.description.class_shares
    summary = summarise(inspect_pairs(dataset.pairs, dataset.expected), dataset.labels)
    if summary.problems:
        raise DatasetError('\n'.join(['the labels cannot be counted:', *summary.problems[:8]]))
    return summary.class_pixels
