"""Training and testing of configs."""

from __future__ import annotations

import copy
import inspect
import logging
import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import is_main_process
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapperDict
from mmengine.registry import init_default_scope
from mmengine.runner import CheckpointLoader, Runner
from mmseg.models.segmentors import SegTTAModel
from mmseg.registry import DATASETS, MODELS
from torch import nn

from dnas_mmseg.datasets import (
    DatasetError,
    InspectableDataset,
    class_weights,
    multi_band_parts,
    summarise,
)
from dnas_mmseg.datasets.configs import leaf_datasets
from dnas_mmseg.errors import UserError
from dnas_mmseg.files import lock_folder, write_json
from dnas_mmseg.models import align_optimizer, place, switch_to_deploy
from dnas_mmseg.work_dir import TEST_SCORES

from .checkpoints import last_checkpoint, load_exactly, load_weights_and_meta
from .config_checks import check_backends, check_mixed_precision, check_sync_batch_norm, warn
from .config_parts import type_name
from .config_validation import validate_config
from .data_checks import check_class_order, check_classes, check_test_labels, check_training
from .loaders import stop_loaders

_VALIDATIONS_PER_PATIENCE = 4
"""Least number of validations of a training run that may stop early, relative to its patience, so
that it can stop from a quarter of its length on."""

_LARGE_WEIGHT = 20.0
"""Weight of a class from which on a warning is printed: with 293 for a class of 100 pixels, a
network had 47 % OA instead of 96 % without weights."""

_FILE_ONLY = re.compile(
    r'\s*(-+\s*System environment:|Config:\n|Hooks will be executed in |"FileClient" will be '
    r'deprecated|"HardDiskBackend" is the alias|paramwise_options -- |Distributed training is not '
    r'used, all SyncBatch)'
)


class ConsoleRunner(Runner):
    """Runner with a short console output and one-line config errors.

    mmengine's lists of environment, config and hooks (hundreds of lines) and its notes to
    developers are written to the log file only.
    """

    @classmethod
    def from_cfg(cls, cfg: Config) -> ConsoleRunner:
        """Build a runner from a config.

        Raises:
            UserError: The config has an unknown class or argument, or requires GPUs.
        """
        check_sync_batch_norm(cfg)
        validate_config(cfg)
        return super().from_cfg(cfg)

    def build_logger(self, *args, **kwargs) -> MMLogger:
        """Build mmengine's logger with a filter for the console."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(_is_for_console)
        logger.info(f'environment, config and hooks are logged in {logger.log_file}')
        return logger

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Place the model on the device of this process, and wrap it for distributed training."""
        return super().wrap_model(model_wrapper_cfg, place(model, get_device()))

    def train(self) -> nn.Module:
        """Train the model, and end the processes of the loaders."""
        try:
            return super().train()
        finally:
            stop_loaders(self)

    def test(self) -> dict:
        """Test the model, and end the processes of the loader."""
        try:
            return super().test()
        finally:
            stop_loaders(self)

    def resume(self, *args, **kwargs) -> None:
        """Resume from a checkpoint, whose optimizer may have another memory format."""
        super().resume(*args, **kwargs)
        wrapper = self.optim_wrapper
        parts = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
        for part in parts:
            align_optimizer(part.optimizer)

    @property
    def bare_model(self) -> nn.Module:
        """The model without a wrapper for distributed training."""
        return self.model.module if is_model_wrapper(self.model) else self.model


def _is_for_console(record: logging.LogRecord) -> bool:
    return not _FILE_ONLY.match(record.getMessage())


def train(config: Config, lock: bool = True) -> Runner:
    """Train the model of a config.

    Args:
        config: Config of the training run.
        lock: Whether to lock the work dir against other runs; False if the caller locks it.

    Returns:
        Runner after training.

    Raises:
        UserError: Another run uses the work dir, or the config is invalid.

    Example:
        >>> config = Config.fromfile('config.py')  # doctest: +SKIP
        >>> config.work_dir = 'work_dirs/mine'  # doctest: +SKIP
        >>> train(config).epoch  # doctest: +SKIP
        200
    """
    with lock_folder(config.work_dir) if lock and is_main_process() else nullcontext():
        runner = build_runner(config)
        last = last_checkpoint(config.work_dir)
        if config.get('resume') and config.get('load_from') is None and last is None:
            runner.logger.warning(
                f'resume: {config.work_dir} contains no checkpoint; training starts from scratch'
            )
        runner.train()
    return runner


def build_runner(config: Config) -> ConsoleRunner:
    """Build a runner for training, and check the config and the data.

    Raises:
        UserError: The config is invalid, or the training set is smaller than a batch.
    """
    check_mixed_precision(config)
    check_backends(config)
    runner = ConsoleRunner.from_cfg(config)
    loader = runner.train_dataloader
    validation = None if runner.val_loop is None else runner.val_dataloader.dataset
    check_training(runner.bare_model, loader, validation)
    return runner


def test(
    config: Config,
    checkpoint: str,
    flips: bool = False,  # noqa: PT028
) -> dict[str, float]:
    """Test a checkpoint on the test set of a config.

    The model is switched to its deployed form (:func:`dnas_mmseg.models.switch_to_deploy`), unlike
    in validation during training. Writes the scores to ``test_scores.json`` in the work dir.

    Args:
        config: Config with a test set.
        checkpoint: Path of a checkpoint of this model; all tensors must match.
        flips: Whether to average over each tile and its horizontal and vertical flip.

    Returns:
        Scores of the evaluator by name, in percent.

    Raises:
        CheckpointError: The checkpoint is damaged or belongs to another network.
        UserError: The config is invalid, the test data have no labels, or their classes are in
            another order than those of the checkpoint.

    Example:
        >>> config = Config.fromfile('config.py')  # doctest: +SKIP
        >>> config.work_dir = 'work_dirs/test'  # doctest: +SKIP
        >>> test(config, 'best.pth')['mIoU']  # doctest: +SKIP
        71.5
    """
    weights, meta = load_weights_and_meta(checkpoint)
    config = _with_flips(config) if flips else copy.deepcopy(config)
    config.load_from, config.resume = None, False  # the runner would load them over the weights
    runner = ConsoleRunner.from_cfg(config)
    model: nn.Module = runner.bare_model
    if isinstance(model, SegTTAModel):
        model = model.module
    load_exactly(model, weights, checkpoint)
    loop = runner.test_loop
    if loop is None:
        raise UserError('test_dataloader, test_cfg and test_evaluator are missing in the config')
    dataset = loop.dataloader.dataset
    check_classes(model, {'test': dataset})
    check_class_order(meta.get('classes'), dataset.metainfo.get('classes'))
    check_test_labels(dataset, loop.evaluator)
    switch_to_deploy(model)
    scores = runner.test()
    if is_main_process():
        write_json(Path(config.work_dir) / TEST_SCORES, scores)
    return scores


def _with_flips(config: Config) -> Config:
    """Return a config with test-time augmentation by flips (``SegTTAModel``)."""
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


def compile_steps(config: Config) -> None:
    """Compile the training steps of a config (:class:`CompileHook`), with a fused optimizer.

    Args:
        config: Config, modified in place.

    Raises:
        UserError: There is no GPU, or gradients are accumulated over steps, which CUDA graphs would
            overwrite.
    """
    if get_device() != 'cuda':
        raise UserError('--compile requires a GPU: on a CPU it gains nothing')
    if config.optim_wrapper.get('accumulative_counts', 1) > 1:
        raise UserError('--compile and optim_wrapper.accumulative_counts exclude each other')
    hooks = [hook for hook in config.get('custom_hooks') or [] if type_name(hook) != 'CompileHook']
    config.custom_hooks = [*hooks, dict(type='CompileHook')]
    optimizer = config.optim_wrapper.optimizer
    if type_name(optimizer) in ('Adam', 'AdamW', 'SGD') and 'foreach' not in optimizer:
        optimizer['fused'] = True


def freeze_encoder(config: Config) -> None:
    """Freeze the backbone of an encoder-decoder.

    Args:
        config: Config of an encoder-decoder, modified in place.

    Raises:
        UserError: The model is not an encoder-decoder, or the backbone has no pretrained weights:
            it is initialised at random, and ``load_from`` is missing or of another network.
    """
    model = config.model
    if type_name(model) not in ('EncoderDecoder', 'SearchedEncoderDecoder'):
        raise UserError(f'--freeze encoder requires an EncoderDecoder, the config has {model.type}')
    backbone = model.backbone
    if not (
        backbone.get('pretrained') or backbone.get('checkpoint') or model.get('pretrained')
        or _is_pretrained(backbone.get('init_cfg')) or _is_pretrained(model.get('init_cfg'))
    ):  # fmt: skip
        if not config.get('load_from'):
            raise UserError(
                '--freeze encoder: the backbone has no pretrained weights (init_cfg, pretrained, '
                'load_from) and would stay random'
            )
        _check_backbone_weights(backbone, config.load_from)
    model.update(type='SearchedEncoderDecoder', freeze_backbone=True)


def _is_pretrained(init_cfg: dict | Sequence[dict] | None) -> bool:
    """Return whether an ``init_cfg`` loads weights, such as ``MultiBandPretrained``."""
    parts = [init_cfg] if isinstance(init_cfg, Mapping) else init_cfg or []
    return any(type_name(part).endswith('Pretrained') for part in parts)


def _check_backbone_weights(backbone: dict, path: str) -> None:
    """Check that a checkpoint has all weights of a backbone.

    Raises:
        UserError: Some are missing or of another shape.
    """
    weights = CheckpointLoader.load_checkpoint(path, map_location='cpu')
    weights = weights.get('state_dict', weights)
    shapes = {key.removeprefix('module.'): value.shape for key, value in weights.items()}
    own = MODELS.build(backbone).state_dict()
    unfit = [
        key
        for key, value in own.items()
        if shapes.get(f'backbone.{key}') != value.shape and not key.endswith('num_batches_tracked')
    ]
    if unfit:
        raise UserError(
            f'--freeze encoder: {len(unfit)} of {len(own)} tensors of the backbone are missing in '
            f'load_from={path} or have another shape (first backbone.{unfit[0]}) and would stay '
            'random: set load_from to a checkpoint of this network'
        )


def stop_early(config: Config, patience: int) -> None:
    """Stop training after some validations without a higher mIoU.

    Validations become more frequent where their number would hardly exceed the patience.

    Args:
        config: Config of a training run with validation, modified in place.
        patience: Number of validations.

    Raises:
        UserError: The patience is not positive, or the config has no validation.
    """
    if patience < 1:
        raise UserError(f'--early-stopping {patience}: expected at least 1')
    if not config.get('val_cfg') or not config.get('val_evaluator'):
        raise UserError('--early-stopping requires validation: val_dataloader and val_evaluator')
    loop = config.train_cfg
    length = loop.get('max_epochs') or loop.get('max_iters')
    if not length:
        raise UserError('--early-stopping requires train_cfg.max_epochs or max_iters')
    interval = loop.get('val_interval', 1 if loop.get('max_epochs') else 1000)  # as in mmengine
    loop.val_interval = max(1, min(interval, length // (_VALIDATIONS_PER_PATIENCE * patience)))
    loop.pop('dynamic_intervals', None)
    hook = dict(
        type='ResumableEarlyStoppingHook',
        monitor='mIoU',
        rule='greater',
        min_delta=0.005,  # scores have two decimals
        patience=patience,
    )
    config.custom_hooks = [*(config.get('custom_hooks') or []), hook]


def weight_classes(config: Config, count: bool = False) -> list[float]:
    """Set class weights in the losses of a config from the class shares of the training set.

    The shares are read from ``dataset.json`` if available. Otherwise, and for a ``ConcatDataset``,
    the pixels of all labels are counted.

    Args:
        config: Config, modified in place: sets ``class_weight`` of all losses of the decode head
            that support it.
        count: Whether to count pixels although ``dataset.json`` states shares, which are those of
            its own training list.

    Returns:
        Weights of the classes; see :func:`dnas_mmseg.datasets.class_weights`.

    Raises:
        UserError: The config has no multi-band data set or no loss with ``class_weight``, or labels
            are invalid.

    Example:
        >>> config = Config.fromfile('config.py')  # doctest: +SKIP
        >>> weight_classes(config)  # doctest: +SKIP
        [1.0, 0.4, 2.31, 1.72, 0.95]
    """
    init_default_scope(config.get('default_scope', 'mmseg'))
    head = config.model.decode_head
    losses = head.get('loss_decode') if isinstance(head, dict) else None
    if not losses:
        raise UserError('class weights require model.decode_head.loss_decode in the config')
    losses = losses if isinstance(losses, (list, tuple)) else [losses]
    if any(type_name(loss) == 'CrossEntropyLoss' for loss in losses):
        raise UserError(
            "class weights: mmseg's CrossEntropyLoss fails on unlabelled pixels; set "
            "loss_decode.type='LabelledCrossEntropyLoss'"
        )
    weighted = [loss for loss in losses if _supports_class_weight(loss['type'])]
    if not weighted:
        names = ', '.join(str(loss['type']) for loss in losses)
        raise UserError(f'class weights are not supported by {names}; disable them')
    validate_config(config, 'train_dataloader')
    dataset = DATASETS.build(config.train_dataloader.dataset)
    parts = multi_band_parts(dataset)
    shares: Sequence[float] | np.ndarray
    if len(parts) == 1:
        description = parts[0].description
        # The shares are those of the classes in dataset.json, which the config may merge.
        is_described = not count and parts[0].file_classes == description.class_names
        shares = (is_described and description.class_shares) or _class_pixels(parts[0])
    else:
        shares = np.sum([_class_pixels(part) for part in parts], axis=0)
    weights = class_weights(parts[0].select_classes(shares))
    names = parts[0].metainfo['classes']
    rare = [f'{name} ({w:g})' for name, w in zip(names, weights, strict=True) if w > _LARGE_WEIGHT]
    if rare:
        warn(
            f'pixels of {", ".join(rare)} weigh more than {_LARGE_WEIGHT:g} times those of a class '
            'of median share, which may ruin the other classes: compare with a training run '
            'without class weights, or merge the class with another one in label_values'
        )
    for loss in weighted:
        loss.class_weight = weights
    return weights


def _supports_class_weight(kind: str | type) -> bool:
    found = MODELS.get(kind) if isinstance(kind, str) else kind
    return found is not None and 'class_weight' in inspect.signature(found).parameters


def _class_pixels(dataset: InspectableDataset) -> np.ndarray:
    """Return the number of labelled pixels per class, (classes,)."""
    summary = summarise(dataset.inspect(), dataset.labels)
    if summary.problems:
        raise DatasetError('\n'.join(['invalid labels:', *summary.problems[:8]]))
    return summary.class_pixels
