"""Checks of the data against the model before a training or a test: labels, classes, batches."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from mmengine.dataset import pseudo_collate
from mmengine.dist import get_world_size
from mmengine.evaluator import Evaluator
from mmengine.structures import BaseDataElement
from mmseg.models import DepthEstimator
from mmseg.models.decode_heads import STDCHead
from torch import nn
from torch.utils.data import DataLoader

from dnas_mmseg.datasets import MultiBandSegDataset, dataset_parts
from dnas_mmseg.errors import UserError


def check_labelled(datasets: Mapping[str, object]) -> None:
    """Check that each data set has a labelled pixel, looking no further than the first one.

    Args:
        datasets: Data sets, by name.

    Raises:
        UserError: One has none: its scores would be NaN, or nothing would be learnt.
    """
    for split, dataset in datasets.items():
        parts = list(dataset_parts(dataset))
        ours = [part for part in parts if isinstance(part, MultiBandSegDataset) and len(part)]
        if len(ours) < len(parts) or not ours or any(_has_no_labels(part) for part in ours):
            continue
        if not any(part.get_cat_ids(i) for part in ours for i in range(len(part))):
            raise UserError(
                f'no pixel of the {split} data is labelled ({", ".join(p.ann_file for p in ours)}):'
                ' there is nothing to learn or to score. `dnas check CONFIG` shows the labels'
            )


def check_classes(model: nn.Module, datasets: Mapping[str, object]) -> None:
    """Compare the classes of a segmentor's heads with those of its data.

    Args:
        model: Segmentor whose heads are compared.
        datasets: Data sets that it is trained and validated on, by name.

    Raises:
        UserError: The numbers differ, or a head has one class.
    """
    for key, head in _heads(model):
        if head.num_classes == 1:
            raise UserError(
                f'{key}.num_classes=1 learns nothing, as softmax of one class is always 1: set '
                'num_classes=2 for a class and its background, or num_classes=2, out_channels=1 '
                'with a sigmoid loss'
            )
        for split, dataset in datasets.items():
            for part in dataset_parts(dataset):
                classes = getattr(part, 'metainfo', {}).get('classes')
                if classes and len(classes) != head.num_classes:
                    shown = ', '.join(classes[:8]) + (', ...' if len(classes) > 8 else '')
                    raise UserError(
                        f'{key}.num_classes={head.num_classes}, but the {split} data set has '
                        f'{len(classes)} classes ({shown}): they must be equal'
                    )


def _heads(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the heads that learn the classes of the data, each with its place in the config."""
    if isinstance(model, DepthEstimator):
        return
    for name in ('decode_head', 'auxiliary_head'):
        head: Any = getattr(model, name, None)
        several = isinstance(head, nn.ModuleList)
        for i, one in enumerate(head if several else [head]):
            # STDC's learns boundaries.
            if hasattr(one, 'num_classes') and not isinstance(one, STDCHead):
                yield f'model.{name}[{i}]' if several else f'model.{name}', one


def check_labels(datasets: Mapping[str, object], advice: str) -> None:
    """Check that pipelines load labels only where the data have them.

    Args:
        datasets: Data sets, by name.
        advice: Advice about a data set without labels; ``{loading}`` stands for the loading
            transform.

    Raises:
        UserError: A pipeline loads labels that do not exist.
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


def check_test_labels(dataset, evaluator: Evaluator) -> None:
    """Check that there are labels to score by.

    Raises:
        UserError: The data have none, or the pipeline does not load them.
    """
    check_labels(
        {'test': dataset},
        'remove {loading} from the pipeline and use dnas predict, as there is nothing to score',
    )
    if all(getattr(m, 'format_only', False) for m in evaluator.metrics) or not len(dataset):
        return
    samples = dataset[0].get('data_samples')
    if isinstance(samples, BaseDataElement) and 'gt_sem_seg' not in samples:
        if any(_has_no_labels(part) for part in dataset_parts(dataset)):
            raise UserError(
                'the test data have no labels (data_prefix.seg_map_path is None), so there is '
                'nothing to score: use dnas predict'
            )
        raise UserError(
            "the test pipeline loads no labels to score by: put dict(type='LoadRasterAnnotations') "
            'behind the loading of the image'
        )


def _has_no_labels(part) -> bool:
    prefix = getattr(part, 'data_prefix', None)
    return isinstance(prefix, Mapping) and prefix.get('seg_map_path') is None and (
        'seg_map_path' not in part.get_data_info(0)
    )  # fmt: skip


def check_single_values(model: nn.Module, loader: DataLoader) -> None:
    """Check that no batch norm gets one value per channel from a batch of one image.

    It has no variance then, and torch refuses to train on it. Where a batch may have one image, a
    copy of the model takes the step on the first tile.

    Args:
        model: Segmentor that is trained.
        loader: Loader of the training set.

    Raises:
        UserError: A batch norm gets one value per channel; the message states what to set.
    """
    batch = loader.batch_size or 1
    smallest = batch if loader.drop_last else len(loader.sampler) % batch or batch  # type: ignore
    if smallest > 1:
        return
    probe: Any = copy.deepcopy(model).train()
    for module in probe.modules():
        alone = not isinstance(module, nn.SyncBatchNorm) or get_world_size() == 1
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and alone:
            module.register_forward_pre_hook(_refuse_single_value)
    with torch.no_grad(), torch.random.fork_rng():
        data = probe.data_preprocessor(pseudo_collate([loader.dataset[0]]), True)
        probe(**data, mode='loss')


def _refuse_single_value(norm: nn.Module, inputs: tuple) -> None:
    if inputs[0].numel() == inputs[0].shape[1]:
        raise UserError(
            'batch norm cannot train on one value per channel: a head pools the image to 1x1, and '
            'the batch has one image. Set train_dataloader.batch_size to at least 2 (and '
            'train_dataloader.drop_last=True), or train on several GPUs with --sync-bn, or give '
            "the head a norm without batch statistics, e.g. norm_cfg=dict(type='GN', num_groups=8)"
        )
