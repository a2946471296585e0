"""Hook that turns a training run into a bilevel architecture search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS, OPTIMIZERS
from mmengine.runner import EpochBasedTrainLoop

from dnas_mmseg.engine.hooks.finite_loss_hook import require_finite, worst
from dnas_mmseg.errors import UserError
from dnas_mmseg.models.layers.recompute import untracked_statistics
from dnas_mmseg.spaces.architecture import Architecture
from dnas_mmseg.spaces.supernet import Supernet, architecture_gradients

from .halves import build_half_b_loader, list_halves
from .history import Epoch, SearchHistory
from .listeners import SearchFiles, SearchListener, SearchLog, SearchPage
from .target import CostTarget

STATE = 'architecture_search'
"""Key of the search state in a checkpoint."""

ARCH_START = 1 / 3
"""Default share of the epochs that train the weights only, before the first architecture step."""


def architecture_start(arch_start: float, epochs: int) -> int:
    """Return the first epoch with architecture steps; values between 0 and 1 are a share."""
    return int(arch_start * epochs + 1e-9) if 0 < arch_start < 1 else int(arch_start)


@HOOKS.register_module()
class ArchitectureSearchHook(Hook):
    """Train a supernet's weights and its architecture parameters in alternation.

    This is first-order bilevel optimisation (DARTS, Liu et al. 2019; used for DNAS by Wang et al.
    2022, Remote Sensing 14(16), 3864). Each iteration trains the weights on a batch of half A.
    From ``arch_start`` on, an architecture step on a batch of half B follows, with an optimizer of
    its own and gradients of the architecture parameters only. In this step batch norms normalise by
    the batch and do not update their running statistics, which belong to half A. Distributed
    processes average the gradients and keep bitwise equal architecture parameters.

    After every epoch listeners write the decoded architecture and the history, log the state with
    alarms, and update the report (:mod:`dnas_mmseg.search.listeners`).

    Args:
        arch_start: First epoch with architecture steps, counted from 0; a value between 0 and 1 is
            a share of all epochs. Defaults to 1/3.
        optimizer: Config of the optimizer of the architecture parameters.
        half_b: Overrides of the training set's config that make it half B, for example
            ``dict(ann_file='b.txt')``; the whole training set is then half A. By default the train
            loader's ``HalfSampler`` splits the training set.
        patience: Number of epochs, at least 1, without a change of the decoded architecture after
            which the search stops. None disables early stopping.
        cost: Arguments of :class:`dnas_mmseg.search.target.CostTarget`, for example
            ``dict(metric='macs', target=5e8)``. None searches without a cost target.

    Attributes:
        history: Decisions of the supernet and their state after every epoch.
        halves: Both halves as lines of list files.
        listeners: Objects that are called after every epoch and after the search.

    Raises:
        UserError: Before training: the backbone is no supernet, half B is missing, smaller than a
            batch or shares tiles with half A, ``arch_start`` is beyond the last epoch, or the cost
            target cannot be reached. In training: a loss or a gradient is not finite.
    """

    priority = 'ABOVE_NORMAL'  # before the timer, whose iteration time includes both steps

    def __init__(
        self,
        arch_start: float = ARCH_START,
        optimizer: dict = dict(type='Adam', lr=3e-3, betas=(0.9, 0.999), weight_decay=1e-3),  # noqa: B006
        half_b: dict | None = None,
        patience: int | None = None,
        cost: dict | None = None,
    ) -> None:
        if patience is not None and patience < 1:
            raise UserError(f'patience = {patience}: expected at least 1 epoch')
        self.arch_start = arch_start
        self.optimizer_cfg = optimizer
        self.half_b = half_b
        self.patience = patience
        self.cost = None if cost is None else CostTarget(**cost)
        self._resumed: dict | None = None
        self._batches: Iterator | None = None
        self._losses: list[float] = []
        self.listeners: Sequence[SearchListener] = (SearchFiles(), SearchLog(), SearchPage())

    def before_run(self, runner) -> None:
        self.model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        supernet = getattr(self.model, 'backbone', None)
        if not isinstance(supernet, Supernet):
            raise UserError(
                f'ArchitectureSearchHook requires a supernet as backbone, not a '
                f'{type(supernet).__name__}'
            )
        self.supernet = supernet
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            raise UserError(
                "a search requires train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=...), "
                'and by_epoch=True in param_scheduler and log_processor'
            )
        self.arch_start = architecture_start(self.arch_start, runner.max_epochs)
        if not 0 <= self.arch_start < runner.max_epochs:
            raise UserError(
                f'arch_start: epoch {self.arch_start} (counted from 0) is not among the '
                f'{runner.max_epochs} epochs; increase max_epochs or decrease arch_start'
            )
        if self.cost is not None:
            self.cost.prepare(self.supernet, runner.cfg.model)
        self.parameters = list(self.supernet.architecture_parameters().values())
        self.optimizer = OPTIMIZERS.build(dict(self.optimizer_cfg, params=self.parameters))
        self.history = SearchHistory(type(self.supernet).__name__, self.supernet.decisions)
        self.loader: Any = build_half_b_loader(runner, self.half_b)
        self.halves = list_halves(runner.train_dataloader, self.loader)

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        # load_from calls this, too, but starts a new search: only a resumed run uses the state.
        self._resumed = checkpoint.get(STATE, {})

    def before_train(self, runner) -> None:
        if runner.epoch > 0:
            self._restore(runner)
            self._stop_if_settled(runner)
        self.loader.sampler.seed = runner.seed

    def before_train_epoch(self, runner) -> None:
        self._losses.clear()
        self._batches = None
        if runner.epoch >= self.arch_start:
            self.loader.sampler.set_epoch(runner.epoch - self.arch_start)
            self._batches = iter(self.loader)

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        self._sample(runner, 'weights')

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if self._batches is not None:
            self._sample(runner, 'architecture')
            self._step(runner, next(self._batches))

    def after_train_epoch(self, runner) -> None:
        self._batches = None
        architecture = self.decode()
        self.history.epochs.append(
            Epoch(
                epoch=runner.epoch + 1,
                searching=runner.epoch >= self.arch_start,
                probabilities=tuple(
                    tuple(round(float(p), 6) for p in ps) for ps in self.supernet.probabilities()
                ),
                architecture=architecture,
                loss=sum(self._losses) / len(self._losses) if self._losses else None,
                cost=None if self.cost is None else self.cost.costs.cost(architecture),
            )
        )
        for listener in self.listeners:
            listener.after_epoch(runner, self)
        self._stop_if_settled(runner)

    def decode(self) -> Architecture:
        """Return the most probable architecture so far, at the cost target if there is one."""
        return self.supernet.decode() if self.cost is None else self.cost.decode()

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        checkpoint[STATE] = dict(
            cost=None if self.cost is None else self.cost.state_dict(),
            optimizer=self.optimizer.state_dict(),
            history=self.history.to_json(),
            arch_start=self.arch_start,
            halves=self.halves,
        )

    def _sample(self, runner, step: Literal['weights', 'architecture']) -> None:
        """Sample what the supernet runs, seeded by the iteration: a resumed run repeats it."""
        rng = np.random.default_rng((runner.seed, runner.iter, step == 'architecture'))
        self.supernet.sample(step, runner.epoch >= self.arch_start, rng)

    def _step(self, runner, data_batch: dict) -> None:
        """Update the architecture parameters on a batch of half B."""
        wrapper = runner.optim_wrapper
        scaler = getattr(wrapper, 'loss_scaler', None)  # float16 mixed precision has one
        scale = scaler.get_scale() if scaler is not None else 1.0
        with (
            architecture_gradients(self.model, self.parameters),
            untracked_statistics(self.model),
        ):
            with wrapper.optim_context(self.model):
                data = self.model.data_preprocessor(data_batch, training=True)
                loss, _ = self.model.parse_losses(self.model(**data, mode='loss'))
            value = loss.item()
            require_finite(value, data_batch, runner)
            if self.cost is not None:
                loss = loss + self.cost.loss().to(loss)
            scaled = torch.autograd.grad(
                scale * loss, self.parameters, allow_unused=True, materialize_grads=True
            )
        for parameter, gradient in zip(self.parameters, scaled, strict=True):
            all_reduce(gradient, op='mean')
            parameter.grad = gradient / scale
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        if all(gradient.isfinite().all() for gradient in gradients):
            self.optimizer.step()
            self.supernet.after_architecture_step()
            if self.cost is not None:
                self.cost.after_architecture_step()
        elif scaler is None:
            value = worst(*gradients)
            require_finite(value, data_batch, runner, 'the gradient of the architecture')
        # Otherwise the float16 loss scale overflowed; the weight steps will decrease it.
        self.optimizer.zero_grad(set_to_none=True)
        self._losses.append(value)
        runner.message_hub.update_scalar('train/arch_loss', value)

    def after_train(self, runner) -> None:
        for listener in self.listeners:
            listener.after_search(runner, self)

    def _stop_if_settled(self, runner) -> None:
        if self.patience is not None and self.history.unchanged >= self.patience:
            runner.logger.info(
                f'search: the architecture has not changed for {self.history.unchanged} epochs; '
                'stopping this stage'
            )
            runner.train_loop.stop_training = True

    def _restore(self, runner) -> None:
        if not self._resumed:
            raise UserError(
                'cannot resume: the checkpoint contains no search state; to start a search from '
                'its weights, set load_from'
            )
        for name, lines in self.halves.items():
            if self._resumed['halves'][name] != lines:
                raise UserError(
                    f'cannot resume: {name} differs from that of the checkpoint; restore the '
                    'training list, the split seed and the lists of the halves'
                )
        self.history = SearchHistory.from_json(self._resumed['history'])
        self.arch_start = self._resumed['arch_start']
        self.optimizer.load_state_dict(self._resumed['optimizer'])
        if self.cost is not None:
            self.cost.load_state_dict(self._resumed['cost'])
        self._resumed = None
