"""Hooks that make a resumed run equal to an uninterrupted one.

Checkpoints contain weights, optimizers and schedules, but no random states. Instead, the random
generators are seeded at every epoch, or at every iteration of an iteration-based run.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from mmengine.dataset import InfiniteSampler
from mmengine.hooks import DistSamplerSeedHook, Hook
from mmengine.registry import HOOKS
from mmengine.runner import IterBasedTrainLoop
from torch.utils.data import IterableDataset

from dnas_mmseg.engine.sampling import derive_seed, get_sampler, make_seeded_loader


@HOOKS.register_module()
class EpochSeedHook(DistSamplerSeedHook):
    """Seed all random generators from (seed, epoch, rank) at the start of each epoch.

    The workers of a loader derive their seeds from it if they start with the epoch
    (``persistent_workers=False``, ``worker_init_fn=dict(type='seed_worker')``). On CPUs, a resumed
    run is then bitwise equal to an uninterrupted one.

    In an iteration-based run (``IterBasedTrainLoop``), each iteration is seeded from (seed,
    iteration, rank), and each sample also from its position in the batch. The hook replaces the
    loop's iterator by one that seeds each sample and starts at the iteration to resume from,
    without loading the earlier samples. It supports any sampler and any number of workers,
    persistent or not. An ``IterableDataset`` is not seeded.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner) -> None:
        # On resuming, mmengine restores the checkpoint's seed after it built the sampler.
        sampler = get_sampler(runner.train_dataloader)
        if hasattr(sampler, 'seed'):
            sampler.seed = runner.seed

    def before_train_epoch(self, runner) -> None:
        super().before_train_epoch(runner)
        loop = runner.train_loop
        if not isinstance(loop, IterBasedTrainLoop):
            _seed(derive_seed(runner.seed, runner.epoch, runner.rank))
        elif not isinstance(loop.dataloader.dataset, IterableDataset):
            loop.dataloader_iterator = _Batches(runner)

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if isinstance(runner.train_loop, IterBasedTrainLoop):
            _seed(derive_seed(runner.seed, runner.iter, runner.rank))


class _Batches(Iterator):
    """Iterator over a loader's batches, from the current iteration of an iteration-based run.

    The loop also tries to skip the batches of earlier iterations: some versions of mmengine call
    ``skip_iter``, others iterate over as many batches.
    """

    def __init__(self, runner) -> None:
        loader, loop = runner.train_dataloader, runner.train_loop
        sampler = get_sampler(loader)
        if isinstance(sampler, InfiniteSampler):
            # Reset its position, which the workers started by the loop have advanced.
            sampler.__init__(sampler.dataset, sampler.shuffle, sampler.seed)
        # The name of mmengine's iterator, whose processes `stop_loaders` ends.
        self._iterator = iter(make_seeded_loader(loader, runner.seed, runner.rank, runner.iter))
        self._ignored = 0 if hasattr(loop.dataloader_iterator, 'skip_iter') else runner.iter

    def skip_iter(self, number: int) -> None:
        """Skip nothing: the batches already start at the current iteration."""

    def __next__(self) -> Any:
        if self._ignored:
            self._ignored -= 1
            return None
        return next(self._iterator)


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@HOOKS.register_module()
class ValidateOnResumeHook(Hook):
    """Run the validation that an interruption prevented.

    The checkpoint of an epoch is written before its validation, which mmengine does not repeat on
    resuming.
    """

    priority = 'LOWEST'  # after before_train of the other hooks

    def before_train(self, runner) -> None:
        loop = runner.train_loop
        iter_based = isinstance(loop, IterBasedTrainLoop)
        done = runner.iter if iter_based else runner.epoch
        end = runner.max_iters if iter_based else runner.max_epochs
        if runner.val_loop is None or not done or done < loop.val_begin:
            return
        if done % loop.val_interval == 0 or done == end:
            runner.val_loop.run()
