"""Checks of the data against the model before training and testing: labels, classes, batches."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dataset import InfiniteSampler, pseudo_collate
from mmengine.dist import get_world_size
from mmengine.evaluator import Evaluator
from mmengine.structures import BaseDataElement
from mmseg.models import DepthEstimator
from mmseg.models.decode_heads import STDCHead
from torch import nn
from torch.utils.data import DataLoader

from dnas_mmseg.classes import find_moved_classes
from dnas_mmseg.datasets import MultiBandSegDataset, dataset_parts
from dnas_mmseg.errors import UserError


def check_labelled(datasets: Mapping[str, object]) -> None:
    """Check that each data set has a labelled pixel; stop at the first one.

    Args:
        datasets: Data sets by name.

    Raises:
        UserError: A data set has no labelled pixel, so its scores would be NaN.
    """
    for split, dataset in datasets.items():
        parts = list(dataset_parts(dataset))
        ours = [part for part in parts if isinstance(part, MultiBandSegDataset) and len(part)]
        if len(ours) < len(parts) or not ours or any(_has_no_labels(part) for part in ours):
            continue
        if not any(part.get_cat_ids(i) for part in ours for i in range(len(part))):
            raise UserError(
                f'the {split} data have no labelled pixel ({", ".join(p.ann_file for p in ours)}): '
                'check the labels with `dnas check CONFIG`'
            )


def check_classes(model: nn.Module, datasets: Mapping[str, object]) -> None:
    """Check that the heads of a segmentor have as many classes as the data.

    Args:
        model: Segmentor.
        datasets: Data sets for training and validation by name.

    Raises:
        UserError: The numbers of classes differ, or a head has one class.
    """
    for key, head in _heads(model):
        if head.num_classes == 1:
            raise UserError(
                f'{key}.num_classes=1: softmax over one class is constant; set num_classes=2 for a '
                'class and its background, or num_classes=2, out_channels=1 with a sigmoid loss'
            )
        for split, dataset in datasets.items():
            for part in dataset_parts(dataset):
                classes = getattr(part, 'metainfo', {}).get('classes')
                if classes and len(classes) != head.num_classes:
                    shown = ', '.join(classes[:8]) + (', ...' if len(classes) > 8 else '')
                    raise UserError(
                        f'{key}.num_classes={head.num_classes}, but the {split} data set has '
                        f'{len(classes)} classes ({shown}); the numbers must be equal'
                    )


def _heads(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the heads that predict the classes of the data, with their keys in the config."""
    if isinstance(model, DepthEstimator):
        return
    for name in ('decode_head', 'auxiliary_head'):
        head: Any = getattr(model, name, None)
        several = isinstance(head, nn.ModuleList)
        for i, one in enumerate(head if several else [head]):
            # STDCHead predicts boundaries.
            if hasattr(one, 'num_classes') and not isinstance(one, STDCHead):
                yield f'model.{name}[{i}]' if several else f'model.{name}', one


def check_labels(datasets: Mapping[str, object], advice: str) -> None:
    """Check that pipelines do not load labels of unlabelled data.

    Args:
        datasets: Data sets by name.
        advice: End of the error message; ``{loading}`` is replaced by the loading transform.

    Raises:
        UserError: A pipeline loads labels of a data set without labels.
    """
    for split, dataset in datasets.items():
        for part in dataset_parts(dataset):
            steps = getattr(getattr(part, 'pipeline', None), 'transforms', ())
            names = [type(step).__name__ for step in steps]
            loading = next((name for name in names if 'Annotation' in name), None)
            if loading and len(part) and _has_no_labels(part):
                raise UserError(
                    f'the {split} data have no labels (data_prefix.seg_map_path is None), but '
                    f'their pipeline has {loading}: {advice.format(loading=loading)}'
                )


def check_class_order(trained: Sequence[str] | None, tested: Sequence[str] | None) -> None:
    """Check that a test set has the classes of a model in the same order.

    Classes may have been renamed since the training, or merged; those that occur in both lists must
    have the same train id.

    Args:
        trained: Class names of the model; None if unknown.
        tested: Class names of the test set; None if unknown.

    Raises:
        UserError: A class has another train id.
    """
    moved = find_moved_classes(trained or (), tested or ())
    if moved:
        raise UserError(
            f'the model was trained on the classes {", ".join(trained or ())}, the test set has '
            f'{", ".join(tested or ())}: {moved[0]} has another train id. Use the config of the '
            'model, with --data-root for other tiles, or label_values with the classes in this '
            'order'
        )


def check_test_labels(dataset, evaluator: Evaluator) -> None:
    """Check that the test data have labels and the pipeline loads them.

    Raises:
        UserError: The data have no labels, or the pipeline does not load them.
    """
    check_labels(
        {'test': dataset},
        'they cannot be scored; remove {loading} from the pipeline and use dnas predict',
    )
    if all(getattr(m, 'format_only', False) for m in evaluator.metrics) or not len(dataset):
        return
    samples = dataset[0].get('data_samples')
    if isinstance(samples, BaseDataElement) and 'gt_sem_seg' not in samples:
        if any(_has_no_labels(part) for part in dataset_parts(dataset)):
            raise UserError(
                'the test data have no labels (data_prefix.seg_map_path is None) and cannot be '
                'scored: use dnas predict'
            )
        raise UserError(
            "the test pipeline loads no labels: add dict(type='LoadRasterAnnotations') after the "
            'loading of the image'
        )


def _has_no_labels(part) -> bool:
    prefix = getattr(part, 'data_prefix', None)
    return isinstance(prefix, Mapping) and prefix.get('seg_map_path') is None and (
        'seg_map_path' not in part.get_data_info(0)
    )  # fmt: skip


def check_training(model: nn.Module, loader: DataLoader, validation: object | None = None) -> None:
    """Check that a model can be trained on its data: labels, classes, and the size of batches.

    Args:
        model: Segmentor to train.
        loader: Loader of the training set.
        validation: Data set that it is validated on.

    Raises:
        UserError: It cannot be trained.
    """
    if len(loader) == 0:
        raise UserError(
            f'{len(loader.sampler)} training tiles per process do not fill a batch of '  # type: ignore
            f'{loader.batch_size}: decrease the batch size or add tiles'
        )
    datasets: dict[str, object] = {'training': loader.dataset}
    if validation is not None:
        datasets['validation'] = validation
    check_labels(datasets, 'training and validation require labels')
    check_labelled(datasets)
    check_classes(model, datasets)
    check_single_values(model, loader)


def check_single_values(model: nn.Module, loader: DataLoader) -> None:
    """Check that no batch norm receives one value per channel from a batch of one image.

    torch refuses to train on it, because the variance is undefined. If a batch may have one image,
    the check runs a forward pass of a copy of the model on the first tile.

    Args:
        model: Segmentor to train.
        loader: Loader of the training set.

    Raises:
        UserError: A batch norm receives one value per channel; the message lists the remedies.
    """
    batch, endless = loader.batch_size, isinstance(loader.sampler, InfiniteSampler)
    if batch is None:  # custom batch sampler
        return
    rest = 0 if loader.drop_last or endless else len(loader.sampler) % batch  # type: ignore[arg-type]
    if (rest or batch) > 1:
        return
    probe: Any = copy.deepcopy(model).train()
    for module in probe.modules():
        alone = not isinstance(module, nn.SyncBatchNorm) or get_world_size() == 1
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and alone:
            module.register_forward_pre_hook(_refuse_single_value)
    states = random.getstate(), np.random.get_state()
    try:
        with torch.no_grad(), torch.random.fork_rng():
            data = probe.data_preprocessor(pseudo_collate([loader.dataset[0]]), True)
            probe(**data, mode='loss')
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def _refuse_single_value(norm: nn.Module, inputs: tuple) -> None:
    if norm.training and inputs[0].numel() == inputs[0].shape[1]:
        raise UserError(
            'batch norm cannot train on one value per channel: a head pools the image to 1x1, and '
            'the batch has one image. Set train_dataloader.batch_size to at least 2 (and '
            'train_dataloader.drop_last=True), train on several GPUs with --sync-bn, or set a '
            "norm without batch statistics in the head, e.g. norm_cfg=dict(type='GN', num_groups=8)"
        )
