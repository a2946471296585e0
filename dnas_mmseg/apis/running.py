"""Training and testing a config, as the tools do."""

from __future__ import annotations

import json
from pathlib import Path

from mmengine.config import Config
from mmengine.model import is_model_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import DATASETS

from dnas_mmseg.datasets import MultiBandSegDataset, class_weights, inspect_pairs, summarise
from dnas_mmseg.files import write_text

from .checkpoint_conversion import load_exactly, load_weights


def train(config: Config) -> Runner:
    """Train as the config says.

    Returns:
        The runner, after training.
    """
    runner = Runner.from_cfg(config)
    runner.train()
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
    write_text(Path(config.work_dir) / 'test_scores.json', json.dumps(scores, indent=2) + '\n')
    return scores


def weight_classes(config: Config) -> list[float]:
    """Weigh the classes in the config's loss by their shares in the training set.

    The shares come from ``dataset.json`` where it has them, else from counting all labels.

    Args:
        config: Changed in place: ``class_weight`` of the decode head's loss.

    Returns:
        The weights; see :func:`dnas_mmseg.datasets.class_weights`.
    """
    init_default_scope(config.get('default_scope', 'mmseg'))
    dataset = DATASETS.build(config.train_dataloader.dataset)
    weights = class_weights(_class_shares(dataset))
    losses = config.model.decode_head.loss_decode
    for loss in losses if isinstance(losses, (list, tuple)) else [losses]:
        loss.class_weight = weights
    return weights


def _class_shares(dataset: MultiBandSegDataset):
    if dataset.description.class_shares and not dataset.label_map:
        return dataset.description.class_shares
    return summarise(inspect_pairs(dataset.pairs, dataset.expected), dataset.labels).class_pixels
