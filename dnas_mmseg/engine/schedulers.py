"""Learning rate schedules."""

from __future__ import annotations

import math

from mmengine.optim import CosineAnnealingLR
from mmseg.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class ClampedCosineLR(CosineAnnealingLR):
    """Cosine annealing to 0 that stops falling at ``min_lr``.

    DNAS anneals this way. It differs from a cosine to ``eta_min``: from 0.025 down to 1e-3 the
    clamp holds from 87 % of the schedule on, and until then the rate is that of the full cosine.

    The value at a step is computed from the base rate alone, so a warm-up before it must end where
    this begins (``begin`` of this = ``end`` of the warm-up).

    Args:
        optimizer: Optimizer or optimizer wrapper.
        min_lr: Lower bound of the rate. Automatic scaling of the learning rate does not scale it.
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
