"""A loss that is no number ends the run, and says where."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from dnas_mmseg.errors import UserError


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stops at the first loss that is NaN or infinite, before it gets into a checkpoint.

    Raises:
        UserError: Names the batch's tiles and the last checkpoint.
    """

    priority = 'HIGH'

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if outputs and 'loss' in outputs:
            require_finite(torch.as_tensor(outputs['loss']).item(), data_batch, runner)


def require_finite(loss: float, data_batch: dict, runner) -> None:
    """Refuse a loss that is no number.

    Raises:
        UserError: Names the batch's tiles and the last checkpoint.
    """
    if math.isfinite(loss):
        return
    samples = (data_batch or {}).get('data_samples') or []
    tiles = ', '.join(str(s.metainfo.get('img_path', '?')) for s in samples)
    pointer = Path(runner.work_dir) / 'last_checkpoint'
    last = pointer.read_text().strip() if pointer.is_file() else 'none yet'
    raise UserError(
        f'the loss is {loss} in epoch {runner.epoch + 1}, iteration {runner.iter + 1}, on '
        f'{tiles or "an unknown batch"}. Look at these tiles (browse_dataset.py --check), or lower '
        f'the learning rate; --resume goes on from the last checkpoint ({last})'
    )
