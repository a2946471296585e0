"""Hook that increases the drop-path rate over a training run."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS

from dnas_mmseg.errors import UserError
from dnas_mmseg.spaces.supernet import Supernet


@HOOKS.register_module()
class ScheduledDropPathHook(Hook):
    """Increase the drop-path rate of a backbone linearly from 0 to its full rate.

    Supernets have no drop path and are not changed.

    Raises:
        UserError: The backbone does not support drop path; raised before training.
    """

    def before_train(self, runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        self.backbone = None if isinstance(model.backbone, Supernet) else model.backbone
        if self.backbone is not None and not hasattr(self.backbone, 'set_drop_path'):
            raise UserError(
                f'ScheduledDropPathHook: {type(model.backbone).__name__} does not support drop '
                'path; remove the hook from custom_hooks'
            )

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if self.backbone is not None:
            self.backbone.set_drop_path(runner.iter / runner.max_iters)
