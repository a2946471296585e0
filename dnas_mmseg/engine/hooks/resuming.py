"""What makes an interrupted run go on as if it had not been interrupted.

Weights, optimizers and schedules are in the checkpoint. Random numbers need not be: every epoch
seeds them anew.
"""

from __future__ import annotations

import random

import numpy as np
import torch
from mmengine.hooks import DistSamplerSeedHook, Hook
from mmengine.registry import HOOKS

from ..sampling import derive_seed


@HOOKS.register_module()
class EpochSeedHook(DistSamplerSeedHook):
    """Seeds all random numbers from (seed, epoch, rank) when an epoch begins.

    The workers of a loader that starts with the epoch (``persistent_workers=False``,
    ``worker_init_fn=dict(type='seed_worker')``) get theirs from there. On CPUs a resumed run is
    then equal to an uninterrupted one, bit for bit.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner) -> None:
        # A run without a seed draws one; resumed, it takes the checkpoint's, too late for this.
        sampler = runner.train_dataloader.sampler
        if hasattr(sampler, 'seed'):
            sampler.seed = runner.seed

    def before_train_epoch(self, runner) -> None:
        super().before_train_epoch(runner)
        seed = derive_seed(runner.seed, runner.epoch, runner.rank)
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)


@HOOKS.register_module()
class ValidateOnResumeHook(Hook):
    """Validates what was due after the last epoch before the interruption.

    The checkpoint is written before the validation, which mmengine skips on resuming.
    """

    priority = 'LOWEST'  # after the other hooks' before_train, which prepare for it

    def before_train(self, runner) -> None:
        loop, epoch = runner.train_loop, runner.epoch
        if runner.val_loop is None or not epoch or epoch < loop.val_begin:
            return
        if epoch % loop.val_interval == 0 or epoch == runner.max_epochs:
            runner.val_loop.run()
