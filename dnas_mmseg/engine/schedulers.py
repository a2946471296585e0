"""Learning rate schedules."""

from __future__ import annotations

import math

from mmengine.optim import CosineAnnealingLR
from mmseg.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class ClampedCosineLR(CosineAnnealingLR):
    """Anneal the learning rate along a cosine to 0, with a lower bound ``min_lr``.

    At step t of T the learning rate is ``max(min_lr, base_lr * (1 + cos(pi * t / T)) / 2)``, as in
    the released code of DNAS. It differs from a cosine to ``eta_min``: from 0.025 down to 1e-3, the
    bound applies from 87 % of the schedule on; before, the full cosine does.

    The value depends on the base learning rate only, so a preceding warm-up must end where this
    schedule begins (its ``end`` equals ``begin`` of this one).

    Args:
        optimizer: Optimizer or optimizer wrapper.
        min_lr: Lower bound of the learning rate; ``--auto-scale-lr`` does not scale it.
        **kwargs: Arguments of :class:`mmengine.optim.CosineAnnealingLR`.
    """

    def __init__(self, optimizer, *args, min_lr: float, **kwargs) -> None:
        self.min_lr = min_lr
        super().__init__(optimizer, *args, eta_min=0.0, **kwargs)

    def _get_value(self) -> list[float]:
        # Closed form: the stock recursion would continue from the clamped value.
        phase = min(self.last_step, self.T_max) / self.T_max
        factor = 0.5 * (1 + math.cos(math.pi * phase))
        return [max(base * factor, min(self.min_lr, base)) for base in self.base_values]
