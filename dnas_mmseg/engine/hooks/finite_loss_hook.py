"""Hook that stops training when the loss is NaN or infinite."""

from __future__ import annotations

import math

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from dnas_mmseg.engine.checkpoints import last_checkpoint
from dnas_mmseg.errors import UserError


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stop at the first loss that is NaN or infinite, and never save non-finite weights.

    Raises:
        UserError: A loss or weight is not finite; the message lists the tiles and the last
            checkpoint.
    """

    priority = 'HIGH'

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if outputs and 'loss' in outputs:
            require_finite(torch.as_tensor(outputs['loss']).item(), data_batch, runner)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        # The last step of an epoch may produce non-finite weights that no loss has revealed yet.
        for name, value in checkpoint['state_dict'].items():
            if value.is_floating_point() and not value.isfinite().all():
                require_finite(worst(value), None, runner, name)


def worst(*values: torch.Tensor) -> float:
    """Return NaN if any value is NaN, else infinity if any value is infinite, else 0."""
    if any(value.isnan().any() for value in values):
        return math.nan
    return math.inf if any(value.isinf().any() for value in values) else 0.0


def require_finite(value: float, data_batch: dict | None, runner, what: str = 'the loss') -> None:
    """Raise an error for a loss, or a value derived from it, that is NaN or infinite.

    Raises:
        UserError: The value is not finite; the message lists the tiles and the last checkpoint.
    """
    if math.isfinite(value):
        return
    samples = (data_batch or {}).get('data_samples') or []
    tiles = ', '.join(str(s.metainfo.get('img_path', '?')) for s in samples)
    last = last_checkpoint(runner.work_dir) or 'none yet'
    raise UserError(
        f'{what} is {value} in epoch {runner.epoch + 1}, iteration {runner.iter + 1}, '
        f'{f"on {tiles}" if tiles else "after a step on unknown tiles"}. Check the tiles (dnas '
        f'check) or lower the learning rate before resuming. Last finite checkpoint: {last}'
    )
