"""Halves of the training set: A for the weights, B for the architecture parameters."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from typing import Any

from mmengine.runner import Runner
from mmseg.registry import DATASETS
from torch.utils.data import DataLoader

from dnas_mmseg.engine.sampling import HalfSampler, StreamSampler
from dnas_mmseg.errors import UserError


def build_half_b_loader(runner: Runner, half_b: dict | None) -> DataLoader:
    """Build the loader of half B, with as many batches per epoch as that of half A.

    Args:
        runner: Runner of the search; its train loader is that of half A.
        half_b: Overrides of the training set's config for half B; None uses the split by the
            ``HalfSampler`` of the train loader.

    Raises:
        UserError: Half B is missing, defined twice, or smaller than a batch.
    """
    config = copy.deepcopy(runner.cfg.train_dataloader)
    dataset_config, _ = config.pop('dataset'), config.pop('sampler', None)
    train = runner.train_dataloader
    if half_b is not None:
        if isinstance(train.sampler, HalfSampler):
            raise UserError(
                'half_b conflicts with the HalfSampler of the train loader: replace the '
                "sampler with dict(type='DefaultSampler', shuffle=True)"
            )
        dataset = DATASETS.build({**dataset_config, **half_b})
        indices: Sequence[int] = range(len(dataset))
    elif isinstance(train.sampler, HalfSampler):
        dataset, indices = train.dataset, train.sampler.other_half
    else:
        raise UserError(
            "half B is missing: set sampler=dict(type='HalfSampler', shuffle=True) in the "
            'train loader, or half_b=dict(ann_file=...) in ArchitectureSearchHook'
        )
    batch = config.batch_size * runner.world_size
    if len(indices) < batch:
        raise UserError(
            f'half B has {len(indices)} tiles, fewer than a batch over all processes '
            f'({batch}): decrease the batch size or add tiles'
        )
    sampler = StreamSampler(indices, len(train) * config.batch_size, runner.seed)
    return Runner.build_dataloader(dict(config, dataset=dataset, sampler=sampler), seed=runner.seed)


def list_halves(half_a: DataLoader, half_b: Any) -> dict[str, list[str]]:
    """Return both halves as lines of list files, with paths relative to the data root.

    Args:
        half_a: Loader of half A.
        half_b: Loader of half B.

    Raises:
        UserError: The halves share a tile.
    """
    sampler, halves = half_a.sampler, {}
    half = sampler.half if isinstance(sampler, HalfSampler) else range(len(half_a.dataset))  # type: ignore[arg-type]
    parts: tuple[tuple[str, Any, Sequence[int]], ...] = (
        ('half_a', half_a.dataset, half),
        ('half_b', half_b.dataset, half_b.sampler.indices),
    )
    for name, dataset, indices in parts:
        infos = [dataset.get_data_info(i) for i in indices]
        root = os.path.abspath(getattr(dataset, 'data_root', None) or '.')
        halves[name] = [
            '\t'.join(
                os.path.relpath(info[key], root)
                for key in ('img_path', 'seg_map_path')
                if key in info
            )
            for info in infos
        ]
    common = set(halves['half_a']) & set(halves['half_b'])
    if common:
        raise UserError(
            f'{len(common)} tiles are in both halves (first {min(common)}); remove them from '
            'one of the lists'
        )
    return halves
