"""Hooks that make a resumed run equal to one without an interruption.

Weights, optimizers and schedules are in the checkpoint. Random numbers need not be: every epoch, or
every iteration where a run goes by iterations, seeds them again.
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
    """Seed all random numbers from (seed, epoch, rank) when an epoch begins.

    The workers of a loader that starts with the epoch (``persistent_workers=False``,
    ``worker_init_fn=dict(type='seed_worker')``) get theirs from there. On CPUs a resumed run is
    then equal to an uninterrupted one, bit for bit.

    A run by iterations (``IterBasedTrainLoop``) has no epochs that could be repeated. There every
    iteration is seeded from (seed, iteration, rank), and every sample of it also from its place in
    the batch. The hook gives the loop batches that are loaded this way and begin at the iteration
    to go on from; samples that were trained on before are not loaded again. Any sampler and any
    number of workers will do, persistent or not; an ``IterableDataset`` chooses its samples itself
    and is left as it is.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner) -> None:
        # A run without a seed draws one; resumed, it takes the checkpoint's, too late for this.
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
    """Batches of a loader in a run by iterations, from the iteration that the run is at.

    The loop tries to advance the batches itself: some versions of mmengine call ``skip_iter``,
    others take as many batches as were trained on.
    """

    def __init__(self, runner) -> None:
        loader, loop = runner.train_dataloader, runner.train_loop
        sampler = get_sampler(loader)
        if isinstance(sampler, InfiniteSampler):
            # It goes on from where it is, and workers that were started with the loop moved it.
            sampler.__init__(sampler.dataset, sampler.shuffle, sampler.seed)
        self._batches = iter(make_seeded_loader(loader, runner.seed, runner.rank, runner.iter))
        self._ignored = 0 if hasattr(loop.dataloader_iterator, 'skip_iter') else runner.iter

    def skip_iter(self, number: int) -> None:
        """Skip nothing: the batches begin behind those that were trained on."""

    def __next__(self) -> Any:
        if self._ignored:
            self._ignored -= 1
            return None
        return next(self._batches)


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@HOOKS.register_module()
class ValidateOnResumeHook(Hook):
    """Run the validation that was due right before an interruption.

    The checkpoint is written before the validation, which mmengine skips on resuming.
    """

    priority = 'LOWEST'  # after the other hooks' before_train, which prepare for it

    def before_train(self, runner) -> None:
        loop = runner.train_loop
        by_iterations = isinstance(loop, IterBasedTrainLoop)
        done = runner.iter if by_iterations else runner.epoch
        end = runner.max_iters if by_iterations else runner.max_epochs
        if runner.val_loop is None or not done or done < loop.val_begin:
            return
        if done % loop.val_interval == 0 or done == end:
            runner.val_loop.run()
