"""Training and testing of a config, as the tools do."""

from __future__ import annotations

import copy
import inspect
import logging
import re
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.models.segmentors import SegTTAModel
from mmseg.registry import DATASETS, MODELS
from torch import nn

from dnas_mmseg.datasets import (
    DatasetError,
    MultiBandSegDataset,
    class_weights,
    inspect_pairs,
    multi_band_parts,
    summarise,
)
from dnas_mmseg.datasets.configs import leaf_datasets
from dnas_mmseg.errors import UserError
from dnas_mmseg.files import lock_folder, write_json
from dnas_mmseg.models import switch_to_deploy
from dnas_mmseg.work_dir import TEST_SCORES

from .checkpoints import last_checkpoint, load_exactly, load_weights
from .config_checks import check_backends, check_mixed_precision
from .config_validation import validate_config
from .data_checks import (
    check_classes,
    check_labelled,
    check_labels,
    check_single_values,
    check_test_labels,
)

_FOR_THE_FILE = re.compile(
    r'\s*(-+\s*System environment:|Config:\n|Hooks will be executed in |"FileClient" will be '
    r'deprecated|"HardDiskBackend" is the alias|Distributed training is not used, all SyncBatch)'
)


class ConsoleRunner(Runner):
    """A Runner that leaves the console to the training, and explains wrong settings in one line.

    mmengine's report of environment, config and hooks, hundreds of lines, goes to the log file
    alone, and so do its notes to programmers.
    """

    @classmethod
    def from_cfg(cls, cfg: Config) -> ConsoleRunner:
        """Build a runner from a config.

        Raises:
            UserError: The config names a class or an argument that does not exist.
        """
        validate_config(cfg)
        return super().from_cfg(cfg)

    def build_logger(self, *args, **kwargs) -> MMLogger:
        """Build mmengine's logger, with a filter on what goes to the console."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(_is_for_console)
        logger.info(f'environment, config and hooks are in {logger.log_file}')
        return logger

    @property
    def bare_model(self) -> nn.Module:
        """The model without a wrapper for several processes."""
        return self.model.module if is_model_wrapper(self.model) else self.model


def _is_for_console(record: logging.LogRecord) -> bool:
    return not _FOR_THE_FILE.match(record.getMessage())


def train(config: Config, lock: bool = True) -> Runner:
    """Train as a config says.

    Args:
        config: Config of the training.
        lock: Whether to keep other runs out of the work dir; False where the caller does.

    Returns:
        Runner, after training.

    Raises:
        UserError: Another run is in the work dir, or the config cannot work.
    """
    with lock_folder(config.work_dir) if lock and is_main_process() else nullcontext():
        runner = build_runner(config)
        last = last_checkpoint(config.work_dir)
        if config.get('resume') and config.get('load_from') is None and last is None:
            runner.logger.warning(
                f'resume: {config.work_dir} holds no checkpoint to go on from; training starts at '
                'the beginning'
            )
        runner.train()
    return runner


def build_runner(config: Config) -> ConsoleRunner:
    """Build a runner that can train.

    Raises:
        UserError: The config cannot work, or the training set does not fill a batch.
    """
    check_mixed_precision(config)
    check_backends(config)
    runner = ConsoleRunner.from_cfg(config)
    loader = runner.train_dataloader
    datasets = {'training': loader.dataset}
    if runner.val_loop is not None:
        datasets['validation'] = runner.val_dataloader.dataset
    if len(loader) == 0:
        raise UserError(
            f'{len(loader.sampler)} tiles to train on (in each process) do not fill a batch of '
            f'{config.train_dataloader.batch_size}: lower the batch size or give more tiles'
        )
    check_labels(datasets, 'training and validation need labels')
    check_labelled(datasets)
    check_classes(runner.bare_model, datasets)
    check_single_values(runner.bare_model, loader)
    return runner


def test(
    config: Config,
    checkpoint: str,
    flips: bool = False,  # noqa: PT028
) -> dict[str, float]:
    """Test a checkpoint on the config's test set.

    The model is turned into the form that predicts fastest
    (:func:`dnas_mmseg.models.switch_to_deploy`), which validation in a training does not do. The
    scores are also written to ``test_scores.json`` in the work dir.

    Args:
        config: Config with a test set.
        checkpoint: Path of a checkpoint of exactly this model.
        flips: Whether to average the predictions over each tile and its two mirror images.

    Returns:
        Scores of the evaluator, by name.

    Raises:
        CheckpointError: The checkpoint is damaged, or of another network.
        UserError: The config cannot work, or there are no labels to score by.
    """
    weights = load_weights(checkpoint)
    runner = ConsoleRunner.from_cfg(_with_flips(config) if flips else config)
    model: nn.Module = runner.bare_model
    if isinstance(model, SegTTAModel):
        model = model.module
    load_exactly(model, weights, checkpoint)
    loop = runner.test_loop
    if loop is None:
        raise UserError('the config has no test_dataloader, test_cfg and test_evaluator')
    check_test_labels(loop.dataloader.dataset, loop.evaluator)
    switch_to_deploy(model)
    scores = runner.test()
    if is_main_process():
        write_json(Path(config.work_dir) / TEST_SCORES, scores)
    return scores


def _with_flips(config: Config) -> Config:
    """Return a config that averages over each tile and its mirror images, by ``SegTTAModel``."""
    config = copy.deepcopy(config)
    config.model = dict(type='SegTTAModel', module=config.model)
    flips = [
        dict(type='RandomFlip', prob=0.0),
        *(dict(type='RandomFlip', prob=1.0, direction=d) for d in ('horizontal', 'vertical')),
    ]
    for dataset in leaf_datasets(config.test_dataloader):
        *steps, pack = dataset['pipeline']
        dataset['pipeline'] = [*steps, dict(type='TestTimeAug', transforms=[flips, [pack]])]
    return config


def weight_classes(config: Config) -> list[float]:
    """Weigh the classes in the config's loss by their shares in the training set.

    The shares come from ``dataset.json`` where it has them, else from counting all labels. Those of
    several data sets (``ConcatDataset``) are counted and summed up.

    Args:
        config: Config that is changed in place: those of the decode head's losses that take it get
            ``class_weight``.

    Returns:
        Weights of the classes; see :func:`dnas_mmseg.datasets.class_weights`.

    Raises:
        UserError: The config has no such data set or loss, or the labels have problems.
    """
    init_default_scope(config.get('default_scope', 'mmseg'))
    head = config.model.decode_head
    losses = head.get('loss_decode') if isinstance(head, dict) else None
    if not losses:
        raise UserError('class weights need a decode_head with loss_decode in the config')
    losses = losses if isinstance(losses, (list, tuple)) else [losses]
    weighted = [loss for loss in losses if _takes_class_weight(loss['type'])]
    if not weighted:
        names = ', '.join(str(loss['type']) for loss in losses)
        raise UserError(f'class weights: {names} has no class_weight; leave them out')
    validate_config(config, 'train_dataloader')
    dataset = DATASETS.build(config.train_dataloader.dataset)
    parts = multi_band_parts(dataset)
    shares: Sequence[float] | np.ndarray
    if len(parts) == 1:
        shares = parts[0].description.class_shares or _class_pixels(parts[0])
    else:
        shares = np.sum([_class_pixels(part) for part in parts], axis=0)
    weights = class_weights(parts[0].select_classes(shares))
    for loss in weighted:
        loss.class_weight = weights
    return weights


def _takes_class_weight(kind: str | type) -> bool:
    found = MODELS.get(kind) if isinstance(kind, str) else kind
    return found is not None and 'class_weight' in inspect.signature(found).parameters


def _class_pixels(dataset: MultiBandSegDataset) -> np.ndarray:
    """Return the number of labelled pixels of each class of the files, (classes,)."""
    summary = summarise(inspect_pairs(dataset.pairs, dataset.expected), dataset.labels)
    if summary.problems:
        raise DatasetError('\n'.join(['the labels cannot be counted:', *summary.problems[:8]]))
    return summary.class_pixels
